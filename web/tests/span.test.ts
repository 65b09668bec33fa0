import { expect, test } from 'vitest';
import { ends, fault, fromField, LONGEST_MS, midnight, toField } from '../src/lib/span';
import { passageWords } from '../src/lib/units';

const NOW = new Date(2026, 2, 2, 15, 1, 7).getTime();
const DAY_MS = 86_400_000;

test('a span that goes on keeps its ends for a while, so that its tiles keep their address', () => {
  expect(ends('week', NOW)).toEqual(ends('week', NOW + 120_000));
  const { from, to } = ends('week', NOW);
  expect(to).toBeGreaterThanOrEqual(NOW);
  expect(to - from).toBe(7 * DAY_MS);
  expect(ends('today', NOW)).toEqual({ from: midnight(NOW), to });
  expect(ends('year', NOW).to - ends('year', NOW).from).toBeLessThan(LONGEST_MS);
  expect(ends({ from: 1, to: 2 }, NOW)).toEqual({ from: 1, to: 2 });
});

test('what is wrong with chosen ends is one sentence', () => {
  expect(fault({ from: 1, to: 2 })).toBeNull();
  expect(fault({ from: 2, to: 2 })).toMatch(/end after/);
  expect(fault({ from: 0, to: LONGEST_MS + 1 })).toMatch(/366 days/);
  expect(fault({ from: fromField(''), to: 2 })).toMatch(/Choose/);
});

test('a field holds the time of the one who looks, and nothing for no time', () => {
  const minute = new Date(2026, 2, 2, 15, 1).getTime();
  expect(toField(minute)).toBe('2026-03-02T15:01');
  expect(fromField(toField(minute))).toBe(minute);
  expect(toField(Number.NaN)).toBe('');
});

test('a place says when something was there last, and how often before', () => {
  const at = (hour: number, minute: number) => new Date(2026, 2, 2, hour, minute).toISOString();
  expect(passageWords([{ from: at(9, 2), to: at(9, 31) }], NOW)).toBe('09:02:00 – 09:31');
  const two = [{ from: at(9, 2), to: at(9, 2) }, { from: at(8, 0), to: at(8, 1) }];
  expect(passageWords(two, NOW)).toBe('09:02:00 · and 1 other time');
});
