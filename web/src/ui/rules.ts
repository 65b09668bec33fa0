// What a geofence asks for, in words: its shape, those of its options that are not the usual, when it holds.

import type { Geometry } from 'geojson';
import { duration, metres, speed } from '../lib/units';

export type Options = Record<string, unknown>;

interface Weekly {
  days: string[];
  from: string;
  to: string;
}

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const DAY_WORDS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const USUAL_GAP_S = 300;

/** "Mon–Fri, Sun": three days or more in a row are a span. */
export function days(names: readonly string[]): string {
  const numbers = [...new Set(names.map((name) => DAYS.indexOf(name)))].sort((a, b) => a - b);
  if (numbers.length === DAYS.length) return 'Every day';
  const spans: number[][] = [];
  for (const day of numbers) {
    const last = spans.at(-1);
    if (last?.at(-1) === day - 1) last.push(day);
    else spans.push([day]);
  }
  const word = (day: number | undefined) => DAY_WORDS[day ?? -1] ?? '?';
  return spans.map((span) => (span.length > 2 ? `${word(span[0])}–${word(span.at(-1))}` : span.map(word).join(', '))).join(', ');
}

function weeklyWords({ days: names, from, to }: Weekly): string {
  const overnight = to <= from ? ' of the next day' : '';
  return `${days(names)} ${from}–${to}${overnight}`;
}

/** What a calendar's events are called; lines of the file are folded by a space at the beginning of the next. */
function titles(ical: string): string[] {
  const unfolded = ical.replaceAll(/\r?\n[ \t]/g, '');
  const events = unfolded.split(/BEGIN:VEVENT/i).slice(1);
  return events.map((event) => /^SUMMARY[^:\r\n]*:(.+)$/im.exec(event)?.[1]?.trim().replaceAll(/\\([,;\\])/g, '$1') ?? 'an event without a name');
}

const TITLES_SHOWN = 3;

export function scheduleWords(schedule: unknown): string[] {
  const { time_zone, weekly, ical } = (schedule ?? {}) as { time_zone?: string; weekly?: Weekly[]; ical?: string };
  const zone = time_zone ? [`Clock of ${time_zone.replaceAll('_', ' ')}`] : [];
  if (weekly) return [...weekly.map(weeklyWords), ...zone];
  if (ical === undefined) return [];
  const found = titles(ical);
  const more = found.length > TITLES_SHOWN ? ` and ${found.length - TITLES_SHOWN} more` : '';
  return [`By a calendar: ${found.slice(0, TITLES_SHOWN).join(', ')}${more}`, ...zone];
}

const number = (value: unknown): number | null => (typeof value === 'number' ? value : null);

function altitude(low: number | null, high: number | null): string | null {
  if (low !== null && high !== null) return `Altitude from ${metres(low)} to ${metres(high)}`;
  if (low !== null) return `Altitude of ${metres(low)} or more`;
  return high === null ? null : `Altitude of ${metres(high)} or less`;
}

function confirmed(fixes: number | null, seconds: number | null): string | null {
  const parts = [(fixes ?? 1) > 1 ? `${fixes} fixes in a row` : null, seconds ? `fixes over ${duration(seconds)}` : null].filter(Boolean);
  return parts.length ? `Believes ${parts.join(' and ')}` : null;
}

function filtered(assets: unknown): string | null {
  const { tags = [], ids = [] } = (assets ?? {}) as { tags?: string[]; ids?: string[] };
  const parts = [tags.length ? `tagged ${tags.join(', ')}` : null, ids.length ? `${ids.length} chosen ${ids.length === 1 ? 'asset' : 'assets'}` : null];
  const found = parts.filter(Boolean);
  return found.length ? `Only ${found.join(' and ')}` : null;
}

/** Also of a rule with every value spelled out: what is as usual is not worth a word. */
export function optionWords(options: Options): string[] {
  const { edge, exit_margin_m, confirm_fixes, confirm_s, dwell_after_s, max_gap_s, alt_min_m, alt_max_m, speed_limit_mps, over_for_s } = options;
  const [margin, dwell, gap, limit, over] = [exit_margin_m, dwell_after_s, max_gap_s, speed_limit_mps, over_for_s].map(number);
  return [
    filtered(options.assets),
    altitude(number(alt_min_m), number(alt_max_m)),
    edge === 'certain' ? 'A fix less exact than the edge is near decides nothing' : null,
    margin ? `To leave, over ${metres(margin)} from the edge` : null,
    confirmed(number(confirm_fixes), number(confirm_s)),
    dwell != null ? `Tells of stays of ${duration(dwell)}` : null,
    options.cross ? 'Tells who passes through' : null,
    limit != null ? `Tells who is over ${speed(limit)}${over ? ` for ${duration(over)}` : ''}` : null,
    options.absence ? 'Tells who is missing while the schedule holds' : null,
    gap != null && gap !== USUAL_GAP_S ? `Believes no way across gaps over ${duration(gap)}` : null,
    options.quality === 'all' ? 'Judges doubtful fixes, too' : null,
  ].filter((words) => words !== null);
}

/** Geometry null: it is around assets. */
export function shapeWords(geometry: Geometry | null, properties: Options): string {
  if (!geometry) return `Within ${metres(number(properties.within_m))} of others. ${filtered(properties.near) ?? ''}`.trim();
  const [radius, buffer] = [number(properties.radius_m), number(properties.buffer_m)];
  if (geometry.type === 'Point') return `Circle with a radius of ${metres(radius)}`;
  if (geometry.type === 'LineString') return `Corridor, ${metres(buffer)} to each side`;
  if (geometry.type === 'MultiPolygon') return `Area of ${geometry.coordinates.length} parts`;
  return 'Area';
}
