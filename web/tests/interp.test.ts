import { describe, expect, test } from 'vitest';
import { fromLonLat, metresPerUnit } from '../src/lib/mercator';
import { at, bearing, next, share, standing } from '../src/live/interp';

const HELSINKI = fromLonLat(24.94, 60.17);
const east = (metres: number) => ({ x: HELSINKI.x + metres / metresPerUnit(HELSINKI.y), y: HELSINKI.y });

describe('a leg', () => {
  test('starts where the marker is drawn, not where it was going', () => {
    const first = next(standing(HELSINKI, 0), { to: east(100), nowMs: 1_000, arrivalGapMs: 1_000, fixGapMs: 10_000 });
    const halfway = at(first, 1_550);
    const second = next(first, { to: east(200), nowMs: 1_550, arrivalGapMs: 550, fixGapMs: 10_000 });
    expect(at(second, 1_550).x).toBeCloseTo(halfway.x, 12);
  });

  test('arrives after about the time between two updates, and stays', () => {
    const leg = next(standing(HELSINKI, 0), { to: east(30), nowMs: 1_000, arrivalGapMs: 1_000, fixGapMs: 1_000 });
    expect(at(leg, 1_000).x).toBeCloseTo(HELSINKI.x, 12);
    expect(share(leg, 1_550)).toBeCloseTo(0.5, 2);
    expect(at(leg, 60_000)).toEqual(east(30));
  });

  test('never takes longer than three seconds, so that what is shown is not long past', () => {
    const leg = next(standing(HELSINKI, 0), { to: east(300), nowMs: 30_000, arrivalGapMs: 30_000, fixGapMs: 30_000 });
    expect(leg.t1 - leg.t0).toBe(3_000);
  });

  test('goes the short way across the antimeridian', () => {
    const leg = next(standing(fromLonLat(179.999, 0), 0), { to: fromLonLat(-179.999, 0), nowMs: 1_000, arrivalGapMs: 1_000, fixGapMs: 10_000 });
    expect(leg.x1 - leg.x0).toBeCloseTo(0.002 / 360, 9);
  });
});

describe('a jump', () => {
  test('is what no vehicle can do', () => {
    const leg = next(standing(HELSINKI, 0), { to: fromLonLat(2.35, 48.86), nowMs: 1_000, arrivalGapMs: 1_000, fixGapMs: 1_000 });
    expect(leg.t0).toBe(leg.t1);
    expect(at(leg, 1_000).x).toBeCloseTo(fromLonLat(2.35, 48.86).x, 12);
  });

  test('is what comes after a long silence', () => {
    const leg = next(standing(HELSINKI, 0), { to: east(500), nowMs: 90_000, arrivalGapMs: 90_000, fixGapMs: 90_000 });
    expect(leg.t0).toBe(leg.t1);
  });

  test('is not what an airliner does', () => {
    const leg = next(standing(HELSINKI, 0), { to: east(2_500), nowMs: 10_000, arrivalGapMs: 10_000, fixGapMs: 10_000 });
    expect(leg.t1).toBeGreaterThan(leg.t0);
  });
});

describe('a bearing', () => {
  test('is clockwise from north', () => {
    expect(bearing(HELSINKI, east(50))).toBeCloseTo(90, 3);
    expect(bearing(HELSINKI, fromLonLat(24.94, 60.16))).toBeCloseTo(180, 3);
  });

  test('is unknown when the places are nearer than a receiver can tell', () => {
    expect(bearing(HELSINKI, east(1))).toBeNull();
  });
});
