import { expect, test } from 'vitest';
import type { Known } from '../src/live/messages';
import { STALE_AFTER_MS, Store, stateOf } from '../src/live/store';

const START = Date.parse('2026-01-01T12:00:00Z');

function entry(id: string, lon: number, seconds = 0, more: Partial<Known> = {}): Known {
  const fix_ms = START + seconds * 1_000;
  return { id, name: id, lon, lat: 60, course_deg: null, speed_mps: null, accuracy_m: null, alt_m: null, fix_ms, ...more };
}

const ids = (store: Store) => store.all().map((asset) => asset.entry.id).sort();

test('a snapshot replaces what its subscription held', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1), entry('b', 2)], 0);
  store.snapshot(1, [entry('b', 2), entry('c', 3)], 1_000);
  expect(ids(store)).toEqual(['b', 'c']);
});

test('a snapshot after a reconnect lets known assets glide on', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 24.94)], 0);
  store.snapshot(1, [entry('a', 24.941, 5)], 5_000);
  const leg = store.get('a')?.leg;
  expect(leg && leg.t1 > leg.t0).toBe(true);
});

test('what leaves the view stays while it is followed', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1)], 0);
  store.update(3, [entry('a', 1)], [], 0);
  store.update(1, [], ['a'], 1_000);
  expect(ids(store)).toEqual(['a']);
  store.forget(3);
  expect(ids(store)).toEqual([]);
});

test('following another asset lets go of the one before', () => {
  const store = new Store();
  store.update(3, [entry('a', 1)], [], 0);
  store.forget(3, 'b');
  store.update(3, [entry('b', 2)], [], 0);
  expect(ids(store)).toEqual(['b']);
});

test('slots stay dense when one in the middle leaves', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1), entry('b', 2), entry('c', 3)], 0);
  store.dirty.clear();
  store.update(1, [], ['a'], 1_000);
  expect(store.size).toBe(2);
  expect(store.all().map((asset) => asset.slot)).toEqual([0, 1]);
  expect(store.slot(0)?.entry.id).toBe('c');
  expect([...store.dirty]).toEqual([0]);
});

test('the same fix seen again moves nothing', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1)], 0);
  const { leg } = store.get('a') ?? {};
  store.update(1, [entry('a', 1)], [], 2_000);
  expect(store.get('a')?.leg).toBe(leg);
  expect(store.get('a')?.arrivedMs).toBe(0);
});

test('an asset without a course points where it goes', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 24.94)], 0);
  store.update(1, [entry('a', 24.95, 10)], [], 10_000);
  expect(store.get('a')?.courseDeg).toBeCloseTo(90, 2);
});

test('without motion every step is a jump', () => {
  const store = new Store();
  store.still = true;
  store.snapshot(1, [entry('a', 24.94)], 0);
  store.update(1, [entry('a', 24.9401, 1)], [], 1_000);
  const leg = store.get('a')?.leg;
  expect(leg?.t1).toBe(leg?.t0);
});

test('the state is moving, still, or stale by the age of the fix', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1, 0, { speed_mps: 4 }), entry('b', 1, 0, { speed_mps: 0.1 })], 0);
  const [a, b] = [store.get('a'), store.get('b')];
  if (!a || !b) throw new Error('lost');
  expect(stateOf(a, START)).toBe('moving');
  expect(stateOf(b, START)).toBe('still');
  expect(stateOf(a, START + STALE_AFTER_MS + 1)).toBe('stale');
});

test('a record does not blur one that is followed, and moves it again when it no longer is', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1, 0, { partial: true, name: '' })], 0);
  store.snapshot(3, [entry('a', 1.5, 1, { accuracy_m: 4 })], 1_000);
  store.update(1, [entry('a', 1.4, 1, { partial: true })], [], 1_100);
  expect(store.get('a')?.entry).toMatchObject({ lon: 1.5, accuracy_m: 4 });
  store.forget(3);
  store.update(1, [entry('a', 2, 2, { partial: true })], [], 2_000);
  expect(store.get('a')?.entry.lon).toBe(2);
});

test('a name that comes later is put where its asset is', () => {
  const store = new Store();
  store.snapshot(1, [entry('a', 1, 0, { partial: true, name: '' })], 0);
  store.dirty.clear();
  store.name([{ id: 'a', name: 'Van', tags: ['red'] }, { id: 'gone', name: 'x', tags: [] }]);
  expect(store.get('a')?.entry).toMatchObject({ name: 'Van', tags: ['red'] });
  expect([...store.dirty]).toEqual([0]);
});
