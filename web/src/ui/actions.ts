// What a user can do. The panels call these; the entry says what they mean.

import type { Feature, Position } from 'geojson';
import type { Bbox, FeedEvent } from '../live/messages';
import type { Row } from './state';

export interface Actions {
  select(id: string | null, options?: { fly?: boolean }): void;
  hover(id: string | null): void;
  follow(on: boolean): void;
  fly(lon: number, lat: number): void;
  /** Shows all of these places at once. */
  frame(positions: readonly Position[]): void;
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
  search(): void;
}

let actions: Actions | null = null;

export function provide(given: Actions): void {
  actions = given;
}

export function act(): Actions {
  if (!actions) throw new Error('The page is not ready.');
  return actions;
}
