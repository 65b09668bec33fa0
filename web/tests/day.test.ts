import { expect, test } from 'vitest';
import { askFrom, type Day, merged, type Stop, timeline, type Trip } from '../src/live/day';
import { midnight } from '../src/lib/span';

const NOW = new Date(2026, 2, 2, 15, 0).getTime();
const at = (hour: number, minute = 0) => new Date(2026, 2, 2, hour, minute).toISOString();
const stop = (from: string, to: string): Stop => ({ from, to, last_fix_time: to, duration_s: 1, lon: 0, lat: 0, silent_s: 0 });
const trip = (from: string, to: string): Trip => ({ from, to, last_fix_time: to, duration_s: 1, distance_m: 1, max_speed_mps: 1 });
const DAY: Day = { fromMs: midnight(NOW), stops: [stop(at(8), at(9)), stop(at(14), at(14, 50))], trips: [trip(at(9), at(14))] };

test('the whole day is asked for once, and then only what may still change', () => {
  expect(askFrom(null, NOW)).toBe(new Date(2026, 2, 2).getTime());
  expect(askFrom(DAY, NOW)).toBe(Date.parse(at(13, 45)));
});

test('at midnight a new day begins', () => {
  const tomorrow = NOW + 86_400_000;
  expect(askFrom(DAY, tomorrow)).toBe(midnight(tomorrow));
  expect(merged(DAY, [], [], midnight(tomorrow), tomorrow)).toEqual({ fromMs: midnight(tomorrow), stops: [], trips: [] });
});

test('what is asked again replaces all that overlaps it', () => {
  const now = merged(DAY, [stop(at(14), at(14, 59))], [trip(at(9), at(14))], askFrom(DAY, NOW), NOW);
  expect(now.stops.map(({ from, to }) => [from, to])).toEqual([[at(8), at(9)], [at(14), at(14, 59)]]);
  expect(now.trips).toHaveLength(1);
});

test('stops and trips are one list, newest first', () => {
  expect(timeline(DAY).map(({ kind }) => kind)).toEqual(['stop', 'trip', 'stop']);
});
