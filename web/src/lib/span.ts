// What part of the past is looked at. Pure: the clock comes in.

export type Reach = 'today' | 'day' | 'week' | 'month' | 'year';

/** From one instant to another, in epoch milliseconds. */
export interface Own {
  from: number;
  to: number;
}

export type Span = Reach | Own;

const DAY_MS = 86_400_000;
/** The server's tiles show no more at once. */
export const LONGEST_MS = 366 * DAY_MS;
/** What goes on ends at a round time, so that its tiles keep their address for a while. */
const STEP_MS = 300_000;

const LENGTHS: Record<Exclude<Reach, 'today'>, number> = { day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS, year: 365 * DAY_MS };

export const midnight = (nowMs: number): number => new Date(nowMs).setHours(0, 0, 0, 0);

export function ends(span: Span, nowMs: number): Own {
  if (typeof span === 'object') return span;
  const to = Math.ceil(nowMs / STEP_MS) * STEP_MS;
  return { from: span === 'today' ? midnight(nowMs) : to - LENGTHS[span], to };
}

/** What is wrong with a span of one's own, in one sentence; null: nothing. */
export function fault({ from, to }: Own): string | null {
  if (Number.isNaN(from) || Number.isNaN(to)) return 'Choose when it begins and when it ends.';
  if (from >= to) return 'It must end after it begins.';
  return to - from > LONGEST_MS ? 'At most 366 days can be shown at once.' : null;
}

/** What a field for a date and a time holds: by the clock of the one who looks, to the minute. */
export function toField(ms: number): string {
  if (Number.isNaN(ms)) return '';
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 16);
}

export const fromField = (text: string): number => new Date(text).getTime();
