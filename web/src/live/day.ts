// What an asset did today, as the server computes it: stops, trips, visits. Pure: answers in, one list out.

import { midnight } from '../lib/span';
import type { Named } from './messages';

interface Span {
  from: string;
  /** Null while it goes on. */
  to: string | null;
  last_fix_time: string;
  duration_s: number;
}

export interface Stop extends Span {
  lon: number;
  lat: number;
  silent_s: number;
}

export interface Trip extends Span {
  distance_m: number;
  max_speed_mps: number | null;
}

export interface Visit {
  id: string;
  geofence: Named;
  enter_time: string;
  exit_time: string | null;
  initial?: boolean;
}

export interface Day {
  /** Midnight, by the clock of the one who looks. */
  fromMs: number;
  stops: Stop[];
  trips: Trip[];
}

/** What the newest fixes may still change: a stop is known after five minutes, and a gap after fifteen. */
const OPEN_MS = 15 * 60_000;

/** From when on to ask again: what ended well before is over. A late fix deeper in the day is seen at the next choosing. */
export function askFrom(day: Day | null, nowMs: number): number {
  const start = midnight(nowMs);
  if (!day || day.fromMs !== start) return start;
  const newest = Math.max(start, ...[...day.stops, ...day.trips].map(({ from }) => Date.parse(from)));
  return Math.max(start, newest - OPEN_MS);
}

/** What was asked for replaces all that overlaps it. */
export function merged(day: Day | null, stops: readonly Stop[], trips: readonly Trip[], askedMs: number, nowMs: number): Day {
  const fromMs = midnight(nowMs);
  const old = day?.fromMs === fromMs ? day : null;
  const over = ({ last_fix_time }: Span) => Date.parse(last_fix_time) < askedMs;
  return { fromMs, stops: [...(old?.stops.filter(over) ?? []), ...stops], trips: [...(old?.trips.filter(over) ?? []), ...trips] };
}

export type Entry = { kind: 'stop'; stop: Stop } | { kind: 'trip'; trip: Trip };

/** Newest first. */
export function timeline({ stops, trips }: Day): Entry[] {
  const all: [string, Entry][] = [
    ...stops.map((stop): [string, Entry] => [stop.from, { kind: 'stop', stop }]),
    ...trips.map((trip): [string, Entry] => [trip.from, { kind: 'trip', trip }]),
  ];
  return all.sort(([a], [b]) => Date.parse(b) - Date.parse(a)).map(([, entry]) => entry);
}
