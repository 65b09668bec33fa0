// What a user can do. The panels call these; the entry says what they mean.

import type { Feature, Position } from 'geojson';
import type { Span } from '../lib/span';
import type { Trip } from '../live/day';
import type { Bbox, FeedEvent } from '../live/messages';
import type { Row } from './state';

export interface Actions {
  select(id: string | null, options?: { fly?: boolean }): void;
  hover(id: string | null): void;
  follow(on: boolean): void;
  fly(lon: number, lat: number): void;
  /** Shows all of these places at once. */
  frame(positions: readonly Position[]): void;
  /** Shows one trip of the selected asset as a whole. */
  frameTrip(trip: Trip): Promise<void>;
  /** Shows the selected asset's way over a time. */
  way(over: Span): void;
  /** Shows where the fleet has been; null: no longer. */
  density(over: Span | null): void;
  why(event: FeedEvent | null): void;
  /** Which of the fixes of an answer is meant, by its number. */
  point(fix: number | null): void;
  fence(id: string | null): void;
  frameFence(fence: Feature): void;
  /** Looks at it, wherever it is. */
  showFence(id: string): void;
  /** Looks into a cluster. */
  open(box: Bbox): void;
  zoom(by: number): void;
  fitFleet(): void;
  showRow(row: Row): void;
}

let actions: Actions | null = null;

export function provide(given: Actions): void {
  actions = given;
}

export function act(): Actions {
  if (!actions) throw new Error('The page is not ready.');
  return actions;
}
