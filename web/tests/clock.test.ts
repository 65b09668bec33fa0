import { expect, test } from 'vitest';
import { Clock } from '../src/live/clock';

/** An answer of a server whose clock is `offsetMs` ahead, `delayMs` away in each direction. */
function answer(clock: Clock, sentMs: number, offsetMs: number, delayMs = 10): void {
  const header = new Date(Math.floor((sentMs + delayMs + offsetMs) / 1_000) * 1_000).toUTCString();
  clock.observe(sentMs, sentMs + 2 * delayMs, header);
}

test('knows nothing before the first answer', () => {
  expect(new Clock().offsetMs).toBe(0);
});

test('is within a second after one answer', () => {
  const clock = new Clock();
  answer(clock, 1_000_400, 90_000);
  expect(Math.abs(clock.offsetMs - 90_000)).toBeLessThan(600);
});

test('narrows with answers from different parts of their second', () => {
  const clock = new Clock();
  for (let i = 0; i < 20; i += 1) answer(clock, 1_000_000 + i * 10_053, -7_250);
  expect(Math.abs(clock.offsetMs + 7_250)).toBeLessThan(60);
});

test('believes the newest answer when a clock was set', () => {
  const clock = new Clock();
  answer(clock, 1_000_000, 0);
  answer(clock, 1_060_000, 3_600_000);
  expect(Math.abs(clock.offsetMs - 3_600_000)).toBeLessThan(600);
});

test('is not led astray by an answer without a date', () => {
  const clock = new Clock();
  clock.observe(0, 20, null);
  clock.observe(0, 20, 'yesterday');
  expect(clock.offsetMs).toBe(0);
});
