// Where every asset on the map is and was a moment ago. The only owner of that: the overlay, the list and the panel read it.
//
// Assets lie densely in slots 0…size-1, so that drawing them is one pass; removing one moves the last into its place.
// An asset stays as long as one subscription (the view, the followed one) wants it.

import { fromLonLat } from '../lib/mercator';
import { bearing, type Leg, next, standing } from './interp';
import type { Known } from './messages';

export type State = 'moving' | 'still' | 'stale';

export interface Asset {
  /** Its name is empty until it was told. */
  entry: Known;
  fixMs: number;
  arrivedMs: number;
  leg: Leg;
  /** Shown while moving: what the device says, else what its way says. */
  courseDeg: number | null;
  courseFromDeg: number | null;
  slot: number;
}

export const STALE_AFTER_MS = 5 * 60_000;
const MOVING_MPS = 0.5;

export function stateOf(asset: Asset, serverNowMs: number): State {
  if (serverNowMs - asset.fixMs > STALE_AFTER_MS) return 'stale';
  const { speed_mps } = asset.entry;
  const moves = speed_mps == null ? asset.courseDeg != null && asset.leg.t1 > asset.leg.t0 : speed_mps >= MOVING_MPS;
  return moves ? 'moving' : 'still';
}

export class Store {
  readonly #assets = new Map<string, Asset>();
  readonly #slots: Asset[] = [];
  readonly #wanted = new Map<number, Set<string>>();
  /** Grows with every change; cheap for others to compare. */
  version = 0;
  /** Slots whose columns must be written again; drained by the one who draws. */
  readonly dirty = new Set<number>();
  /** Motion off: every step is a jump. */
  still = false;

  get size(): number {
    return this.#slots.length;
  }

  get(id: string): Asset | undefined {
    return this.#assets.get(id);
  }

  slot(index: number): Asset | undefined {
    return this.#slots[index];
  }

  all(): readonly Asset[] {
    return this.#slots;
  }

  /** A snapshot is the whole truth of its subscription: what it does not name is gone. Others keep their motion. */
  snapshot(subscription: number, entries: readonly Known[], nowMs: number): void {
    const before = this.#wanted.get(subscription) ?? new Set<string>();
    const now = new Set(entries.map((entry) => entry.id));
    this.#wanted.set(subscription, now);
    for (const entry of entries) this.#put(entry, nowMs);
    for (const id of before) if (!now.has(id)) this.#release(id);
    this.version += 1;
  }

  update(subscription: number, entries: readonly Known[], removed: readonly string[], nowMs: number): void {
    const wanted = this.#wanted.get(subscription) ?? new Set<string>();
    this.#wanted.set(subscription, wanted);
    for (const entry of entries) {
      wanted.add(entry.id);
      this.#put(entry, nowMs);
    }
    for (const id of removed) {
      wanted.delete(id);
      this.#release(id);
    }
    this.version += 1;
  }

  /** The subscription ends, or names others from now on. */
  forget(subscription: number, except?: string): void {
    const wanted = this.#wanted.get(subscription);
    if (!wanted) return;
    this.#wanted.set(subscription, new Set(except !== undefined && wanted.has(except) ? [except] : []));
    for (const id of wanted) this.#release(id);
    this.version += 1;
  }

  /** Names and tags that have come to be known. */
  name(named: readonly { id: string; name: string; tags: string[] }[]): void {
    for (const { id, name, tags } of named) {
      const asset = this.#assets.get(id);
      if (!asset) continue;
      asset.entry = { ...asset.entry, name, tags };
      this.dirty.add(asset.slot);
    }
    this.version += 1;
  }

  #put(entry: Known, nowMs: number): void {
    const known = this.#assets.get(entry.id);
    if (!known) this.#add(entry, nowMs);
    // Of one that is followed everything is told, and as soon: its record would only blur it.
    else if (!entry.partial || known.entry.partial || !this.#followed(entry.id)) this.#move(known, entry, nowMs);
  }

  /** Is it wanted by more than the view? */
  #followed(id: string): boolean {
    let wanting = 0;
    for (const wanted of this.#wanted.values()) if (wanted.has(id)) wanting += 1;
    return wanting > 1;
  }

  #add(entry: Known, nowMs: number): void {
    const asset: Asset = {
      entry,
      fixMs: entry.fix_ms,
      arrivedMs: nowMs,
      leg: standing(fromLonLat(entry.lon, entry.lat), nowMs),
      courseDeg: entry.course_deg,
      courseFromDeg: entry.course_deg,
      slot: this.#slots.length,
    };
    this.#assets.set(entry.id, asset);
    this.#slots.push(asset);
    this.dirty.add(asset.slot);
  }

  #move(asset: Asset, entry: Known, nowMs: number): void {
    const fixMs = entry.fix_ms;
    const to = fromLonLat(entry.lon, entry.lat);
    const same = fixMs === asset.fixMs && entry.lon === asset.entry.lon && entry.lat === asset.entry.lat;
    if (!same) {
      const from = { x: asset.leg.x1, y: asset.leg.y1 };
      const step = { to, nowMs, arrivalGapMs: nowMs - asset.arrivedMs, fixGapMs: fixMs - asset.fixMs };
      asset.leg = this.still ? standing(to, nowMs) : next(asset.leg, step);
      asset.courseFromDeg = asset.courseDeg;
      asset.courseDeg = entry.course_deg ?? bearing(from, to) ?? asset.courseDeg;
      asset.arrivedMs = nowMs;
      asset.fixMs = fixMs;
    }
    asset.entry = entry;
    this.dirty.add(asset.slot);
  }

  #release(id: string): void {
    for (const wanted of this.#wanted.values()) if (wanted.has(id)) return;
    const asset = this.#assets.get(id);
    const last = this.#slots.at(-1);
    if (!asset || !last) return;
    this.#assets.delete(id);
    this.#slots.pop();
    if (last !== asset) {
      this.#slots[asset.slot] = last;
      last.slot = asset.slot;
      this.dirty.add(last.slot);
    }
  }
}
