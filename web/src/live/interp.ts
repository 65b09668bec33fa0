// How a marker moves between two positions. Pure: times come in as milliseconds of one monotonic clock.
//
// A marker starts from where it is drawn now and arrives after about as long as its updates are apart, so that it
// neither jumps nor waits. What cannot be a movement (a long silence, an impossible speed) is a jump and shown as one.

import { metresPerUnit, type Point, unwrap } from '../lib/mercator';

export interface Leg {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  t0: number;
  t1: number;
}

const SHORTEST_MS = 150;
const LONGEST_MS = 3_000;
const SILENCE_MS = 60_000;
const IMPOSSIBLE_MPS = 500;
/** Updates jitter; arriving a little later than the next one is expected keeps the motion even. */
const SLACK = 1.1;

export function share(leg: Leg, nowMs: number): number {
  if (nowMs >= leg.t1) return 1;
  return Math.max(0, (nowMs - leg.t0) / (leg.t1 - leg.t0));
}

export function at(leg: Leg, nowMs: number): Point {
  const part = share(leg, nowMs);
  return { x: leg.x0 + (leg.x1 - leg.x0) * part, y: leg.y0 + (leg.y1 - leg.y0) * part };
}

export function standing(point: Point, nowMs: number): Leg {
  return { x0: point.x, y0: point.y, x1: point.x, y1: point.y, t0: nowMs, t1: nowMs };
}

export interface Step {
  /** Where the newest fix puts it. */
  to: Point;
  nowMs: number;
  /** Since the previous update of this asset arrived. */
  arrivalGapMs: number;
  /** Between the two fixes themselves. */
  fixGapMs: number;
}

export function next(leg: Leg, step: Step): Leg {
  const { to, nowMs, arrivalGapMs, fixGapMs } = step;
  const from = at(leg, nowMs);
  const x1 = unwrap(to.x, from.x);
  const metres = Math.hypot(x1 - leg.x1, to.y - leg.y1) * metresPerUnit(to.y);
  const impossible = metres > (IMPOSSIBLE_MPS * Math.max(fixGapMs, 1_000)) / 1_000;
  if (impossible || arrivalGapMs > SILENCE_MS) return standing({ x: unwrap(to.x, 0.5), y: to.y }, nowMs);
  const duration = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, arrivalGapMs * SLACK));
  return { x0: from.x, y0: from.y, x1, y1: to.y, t0: nowMs, t1: nowMs + duration };
}

/** Degrees clockwise from north; null when the two places are too near each other to tell. */
export function bearing(from: Point, to: Point, leastMetres = 3): number | null {
  const dx = unwrap(to.x, from.x) - from.x;
  const dy = to.y - from.y;
  if (Math.hypot(dx, dy) * metresPerUnit(to.y) < leastMetres) return null;
  return ((Math.atan2(dx, -dy) * 180) / Math.PI + 360) % 360;
}
