import { describe, expect, test } from 'vitest';
import type { FeedEvent } from '../src/live/messages';
import { duration } from '../src/lib/units';
import { differences, fixNote, happenedMs, placeName, reasonWords, tell } from '../src/ui/format';
import { days, optionWords, scheduleWords, shapeWords } from '../src/ui/rules';
import { threads } from '../src/ui/threads';

const AT = '2026-03-02T12:03:10.000Z';

function event(id: number, more: Partial<FeedEvent> = {}): FeedEvent {
  const named = { asset: { id: 'ast_1', name: 'Cab 7' }, geofence: { id: 'gf_1', name: 'Depot' } };
  return { id: `evt_${id}`, type: 'geofence.enter', status: 'live', ...named, fix_time: AT, recorded_at: AT, lon: 24.94, lat: 60.17, ...more };
}

describe('the threads of the feed', () => {
  const shown = (newestFirst: FeedEvent[]) => threads(newestFirst).map(({ head, past }) => [head.id, ...past.map(({ id }) => id)]);

  test('put a correction in the place of what it corrects', () => {
    const corrected = event(3, { status: 'revised', revises: 'evt_1' });
    expect(shown([corrected, event(2), event(1)])).toEqual([['evt_3', 'evt_1'], ['evt_2']]);
  });

  test('follow corrections of corrections to the first word', () => {
    const chain = [event(9, { status: 'retracted', revises: 'evt_4' }), event(5), event(4, { status: 'revised', revises: 'evt_1' }), event(1)];
    expect(shown(chain)).toEqual([['evt_9', 'evt_4', 'evt_1'], ['evt_5']]);
  });

  test('keep the order in which the server told, whatever the times of the fixes', () => {
    expect(shown([event(2, { status: 'late', fix_time: '2026-03-01T00:00:00Z' }), event(1)])).toEqual([['evt_2'], ['evt_1']]);
  });

  test('show a correction of what is no longer listed by itself', () => {
    expect(shown([event(900, { status: 'revised', revises: 'evt_1' })])).toEqual([['evt_900']]);
  });
});

describe('an event in words', () => {
  test('names the other one of two that meet, and says by which rule', () => {
    const near = { id: 'ast_2', name: 'Bus 3', distance_m: 60.25 };
    const met = event(1, { near });
    expect([tell(met).verb, placeName(met), tell(met).notes]).toEqual(['came near', 'Bus 3', ['60 m apart (Depot)']]);
    const parted = event(2, { type: 'geofence.exit', near: { id: 'ast_2', name: 'Bus 3' } });
    expect([tell(parted).verb, tell(parted).notes]).toEqual(['parted from', ['not heard of any more (Depot)']]);
    expect(shapeWords(null, { within_m: 100, near: { tags: ['bus'] } })).toBe('Within 100 m of others. Only tagged bus');
  });

  test('says what happened, of every type', () => {
    const types = ['enter', 'exit', 'dwell', 'cross', 'speeding', 'absent'].map((name) => `geofence.${name}`);
    const all = [...types, 'asset.online', 'asset.silent', 'asset.offline'].map((type) => tell(event(1, { type })));
    expect(new Set(all.map(({ kind }) => kind)).size).toBe(9);
    expect(all.every(({ kind, verb }) => kind !== 'other' && !verb.includes('.'))).toBe(true);
    expect(all.every(({ notes }) => notes.length === 0)).toBe(true);
  });

  test('of a type that is not known yet is still told', () => {
    expect(tell(event(1, { type: 'geofence.hover_near' }))).toMatchObject({ kind: 'other', verb: 'geofence hover near' });
  });

  test('says how late it was known, what it is now, and why', () => {
    expect(tell(event(1, { status: 'late', recorded_at: '2026-03-02T12:17:10Z' })).notes).toEqual(['known 14 min late']);
    expect(tell(event(1, { status: 'retracted' })).notes).toEqual(['did not happen']);
    expect(tell(event(1, { type: 'geofence.exit', cause: 'schedule' })).notes).toEqual(['the schedule ended']);
    expect(tell(event(1, { cause: 'fence_changed' })).notes).toEqual(['the geofence was changed']);
    expect(tell(event(1, { initial: true })).notes).toEqual(['was already inside']);
    expect(tell(event(1, { type: 'asset.silent', cause: 'no_messages' })).notes).toEqual(['no messages']);
    expect(reasonWords('permission_denied')).toBe('its device says: permission denied');
  });

  test('has the time of the crossing, and beside it that of the fix that showed it', () => {
    const crossed = event(1, { crossed_at: '2026-03-02T12:02:58Z' });
    expect(happenedMs(crossed)).toBe(Date.parse('2026-03-02T12:02:58Z'));
    expect(fixNote(crossed)).toEqual({ words: 'fix', timeMs: Date.parse(AT) });
    expect(fixNote(event(1, { crossed_at: '2026-03-02T12:03:09.600Z' }))).toBeNull();
  });

  test('of a silence has the time when it was noticed, and beside it the last message', () => {
    const silent = event(1, { type: 'asset.silent', recorded_at: '2026-03-02T12:05:10Z' });
    expect(happenedMs(silent)).toBe(Date.parse('2026-03-02T12:05:10Z'));
    expect(fixNote(silent)?.words).toBe('last heard');
  });

  test('that corrects says in what it differs', () => {
    const before = event(1);
    expect(differences(event(2, { status: 'revised', fix_time: '2026-03-02T12:02:10Z' }), before)).toEqual(['1 min earlier']);
    expect(differences(event(2, { status: 'revised', lat: 60.171 }), before)).toEqual(['111 m away']);
    expect(differences(event(2, { status: 'revised', initial: true }), before)).toEqual(['was already inside']);
    expect(differences(event(2, { status: 'retracted' }), before)).toEqual([]);
  });
});

test('durations have two units at most, and no minute of sixty seconds', () => {
  expect([0, 59.6, 90, 600, 3_599, 3_900, 93_600, 190_000].map(duration)).toEqual(['0 s', '1 min', '1 min 30 s', '10 min', '1 h', '1 h 5 min', '26 h', '2 d 4 h']);
});

describe('a geofence in words', () => {
  test('a plain one has no options', () => {
    expect(optionWords({ name: 'Depot', quality: 'trusted', version: 1, radius_m: 150 })).toEqual([]);
  });

  test('a rule with every value spelled out says only what is not usual', () => {
    const rule = {
      quality: 'trusted', edge: 'exact', exit_margin_m: 0, confirm_fixes: 1, confirm_s: 0, dwell_after_s: null, cross: false, max_gap_s: 300,
      alt_min_m: null, alt_max_m: null, absence: false, speed_limit_mps: 13.9, over_for_s: 10, schedule: null, assets: null,
    };
    expect(optionWords(rule)).toEqual(['Tells who is over 50 km/h for 10 s']);
  });

  test('every option has its words', () => {
    const all = {
      assets: { tags: ['bus'], ids: ['ast_1'] }, alt_min_m: 100, edge: 'certain', exit_margin_m: 30, confirm_fixes: 3, confirm_s: 20,
      dwell_after_s: 600, cross: true, max_gap_s: 60, absence: true, quality: 'all',
    };
    expect(optionWords(all)).toHaveLength(10);
    expect(optionWords(all)).toContain('Believes 3 fixes in a row and fixes over 20 s');
  });

  test('days in a row are a span', () => {
    expect(days(['mon', 'tue', 'wed', 'thu', 'fri'])).toBe('Mon–Fri');
    expect(days(['sun', 'sat', 'tue'])).toBe('Tue, Sat, Sun');
    expect(days(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).toBe('Every day');
  });

  test('a schedule is told in words, with its clock', () => {
    const weekly = [{ days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '08:00', to: '17:30' }, { days: ['sat'], from: '22:00', to: '06:00' }];
    expect(scheduleWords({ time_zone: 'Europe/Helsinki', weekly })).toEqual(['Mon–Fri 08:00–17:30', 'Sat 22:00–06:00 of the next day', 'Clock of Europe/Helsinki']);
    const ical = 'BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Early\r\n  shift\\, harbour\r\nEND:VEVENT\r\nEND:VCALENDAR';
    expect(scheduleWords({ ical })).toEqual(['By a calendar: Early shift, harbour']);
    expect(scheduleWords(null)).toEqual([]);
  });

  test('a shape has its size', () => {
    expect(shapeWords({ type: 'LineString', coordinates: [] }, { buffer_m: 50 })).toBe('Corridor, 50 m to each side');
  });
});
