// The way the selected asset came in the last half hour: read once from history, then grown by the live fixes.
// The newest stretch follows the gliding marker, so it is drawn apart from the rest.

import type { FeatureCollection } from 'geojson';
import { fromLonLat, metresPerUnit, type Point, unwrap } from '../lib/mercator';

export const TRAIL_MS = 30 * 60_000;
/** A silence as long as this is not a known way: the line across it is drawn faintly. */
const GAP_MS = 120_000;

export interface TrailFix extends Point {
  timeMs: number;
  speedMps: number | null;
}

/** A fix that is not believed, and why. */
export interface Doubted {
  lon: number;
  lat: number;
  timeMs: number;
  flags: string[];
}

export interface Segment {
  from: Point;
  to: Point;
  alphaFrom: number;
  alphaTo: number;
}

/** What stands beside the coordinates, fix by fix. */
interface Columns {
  times?: string[];
  speed_mps?: (number | null)[];
  flags?: string[][];
}

/** A track comes as lines, cut at the antimeridian, or a point for a single fix. */
function rowsOf(track: FeatureCollection): (Doubted & { speedMps: number | null })[] {
  return track.features.flatMap(({ geometry, properties }) => {
    const positions = geometry.type === 'LineString' ? geometry.coordinates : geometry.type === 'Point' ? [geometry.coordinates] : [];
    const columns = (properties ?? {}) as Columns;
    return positions.flatMap(([lon, lat], i) => {
      const timeMs = Date.parse(columns.times?.[i] ?? '');
      if (lon === undefined || lat === undefined || Number.isNaN(timeMs)) return [];
      return [{ lon, lat, timeMs, speedMps: columns.speed_mps?.[i] ?? null, flags: columns.flags?.[i] ?? [] }];
    });
  });
}

/** The way: suspicious fixes do not move an asset, and so are no part of it. */
export function fixesOf(track: FeatureCollection): TrailFix[] {
  const believed = rowsOf(track).filter(({ flags }) => !flags.length);
  return believed.map(({ lon, lat, timeMs, speedMps }) => ({ ...fromLonLat(lon, lat), timeMs, speedMps }));
}

export function doubtedOf(track: FeatureCollection): Doubted[] {
  return rowsOf(track).flatMap(({ lon, lat, timeMs, flags }) => (flags.length ? [{ lon, lat, timeMs, flags }] : []));
}

export class Trail {
  #fixes: TrailFix[] = [];

  get fixes(): readonly TrailFix[] {
    return this.#fixes;
  }

  clear(): void {
    this.#fixes = [];
  }

  /** History may arrive after the first live fixes did: both are kept, each time once, in order of time. */
  merge(fixes: readonly TrailFix[]): void {
    const byTime = new Map([...fixes, ...this.#fixes].map((fix) => [fix.timeMs, fix]));
    this.#fixes = [...byTime.values()].sort((a, b) => a.timeMs - b.timeMs);
  }

  extend(fix: TrailFix): void {
    const last = this.#fixes.at(-1);
    if (last && fix.timeMs <= last.timeMs) return;
    this.#fixes.push(fix);
    const oldest = fix.timeMs - TRAIL_MS;
    const keep = this.#fixes.findIndex((f) => f.timeMs >= oldest);
    if (keep > 256) this.#fixes.splice(0, keep);
  }

  /** All but the newest stretch. Older is fainter. */
  segments(): Segment[] {
    const newest = this.#fixes.at(-1)?.timeMs ?? 0;
    const alpha = (fix: TrailFix) => 0.12 + 0.78 * Math.max(0, 1 - (newest - fix.timeMs) / TRAIL_MS);
    const shown = this.#fixes.filter((fix) => newest - fix.timeMs <= TRAIL_MS);
    return shown.slice(1, -1).map((to, i) => {
      const from = shown[i] as TrailFix;
      const faint = to.timeMs - from.timeMs > GAP_MS ? 0.25 : 1;
      const near = { x: unwrap(from.x, to.x), y: from.y };
      return { from: near, to, alphaFrom: alpha(from) * faint, alphaTo: alpha(to) * faint };
    });
  }

  /** Where the newest stretch begins: the fix before the newest one. */
  get joint(): TrailFix | undefined {
    return this.#fixes.at(-2);
  }

  spanMs(): number {
    return (this.#fixes.at(-1)?.timeMs ?? 0) - (this.#fixes[0]?.timeMs ?? 0);
  }

  lengthM(): number {
    return this.#fixes.reduce((sum, fix, i) => {
      const before = this.#fixes[i - 1];
      if (!before) return 0;
      return sum + Math.hypot(unwrap(fix.x, before.x) - before.x, fix.y - before.y) * metresPerUnit(fix.y);
    }, 0);
  }
}
