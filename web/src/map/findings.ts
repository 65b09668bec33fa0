// What was found out for the one who looks: where the selected asset stood today, and the fixes that an event follows
// from. Each is empty until it is asked for, and then costs nothing.

import type { Feature, FeatureCollection, Position } from 'geojson';
import type { GeoJSONSource, Map as MapLibre } from 'maplibre-gl';
import type { Evidence, Why } from '../lib/api';
import { duration } from '../lib/units';
import type { Day } from '../live/day';
import type { FeedEvent } from '../live/messages';

const collection = (features: Feature[]): FeatureCollection => ({ type: 'FeatureCollection', features });

function spot(position: Position, properties: Record<string, unknown>): Feature {
  return { type: 'Feature', geometry: { type: 'Point', coordinates: position }, properties };
}

/** Longitudes go on beyond ±180, so that a way stays in one piece. */
export function unbroken(positions: readonly Position[]): Position[] {
  const way: Position[] = [];
  for (const [lon = 0, lat = 0] of positions) {
    const before = way.at(-1)?.[0] ?? lon;
    way.push([lon - 360 * Math.round((lon - before) / 360), lat]);
  }
  return way;
}

export function dayFeatures({ stops }: Day): FeatureCollection {
  return collection(stops.map((stop) => spot([stop.lon, stop.lat], { words: duration(stop.duration_s), lasted: stop.duration_s })));
}

/** What the server explains, or until it has, where the event was. */
export function whyPlaces(event: FeedEvent, answer: Why | null): Position[] {
  const fixes = (answer?.fixes ?? []).map(({ lon, lat }): Position => [lon, lat]);
  const here = event.lon === undefined || event.lat === undefined ? [] : [[event.lon, event.lat]];
  const crossed = event.crossed_lon === undefined || event.crossed_lat === undefined ? [] : [[event.crossed_lon, event.crossed_lat]];
  return unbroken([...(fixes.length ? fixes : here), ...crossed]);
}

const markOf = ({ says }: Evidence): string => `fix-${says ?? 'unseen'}`;

export function whyFeatures(event: FeedEvent, answer: Why | null, pointed: number | null): FeatureCollection {
  const fixes = answer?.fixes ?? [];
  const places = whyPlaces(event, answer);
  const seen = fixes.flatMap((fix, i) => (fix.says === null ? [] : [places[i] as Position]));
  const crossing = event.crossed_lon === undefined ? [] : [spot(places.at(-1) as Position, { mark: 'crossing', order: 3 })];
  return collection([
    ...(seen.length > 1 ? [{ type: 'Feature' as const, geometry: { type: 'LineString' as const, coordinates: seen }, properties: {} }] : []),
    ...fixes.map((fix, i) => spot(places[i] as Position, { mark: markOf(fix), ring: i === pointed || fix.part === 'decided', order: fix.part === 'decided' ? 2 : fix.says ? 1 : 0 })),
    ...crossing,
  ]);
}

export class Findings {
  readonly #map: MapLibre;
  #styled = false;
  readonly #waiting = new Map<string, FeatureCollection>();

  constructor(map: MapLibre) {
    this.#map = map;
    map.once('style.load', () => {
      this.#styled = true;
      for (const [source, data] of this.#waiting) this.#put(source, data);
      this.#waiting.clear();
    });
  }

  day(day: Day | null): void {
    this.#put('day', day ? dayFeatures(day) : collection([]));
  }

  why(event: FeedEvent | null, answer: Why | null = null, pointed: number | null = null): void {
    this.#put('why', event ? whyFeatures(event, answer, pointed) : collection([]));
  }

  #put(source: string, data: FeatureCollection): void {
    if (this.#styled) this.#map.getSource<GeoJSONSource>(source)?.setData(data);
    else this.#waiting.set(source, data);
  }
}
