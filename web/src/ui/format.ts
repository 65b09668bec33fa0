// Words for events and connections: what happened, in the fewest that are clear.

import { duration, metres } from '../lib/units';
import type { FeedEvent } from '../live/messages';

export type Kind = 'enter' | 'exit' | 'dwell' | 'cross' | 'speeding' | 'absent' | 'online' | 'silent' | 'offline' | 'other';

const VERBS: Record<string, [Kind, string]> = {
  'geofence.enter': ['enter', 'entered'],
  'geofence.exit': ['exit', 'left'],
  'geofence.dwell': ['dwell', 'is staying in'],
  'geofence.cross': ['cross', 'passed through'],
  'geofence.speeding': ['speeding', 'was too fast in'],
  'geofence.absent': ['absent', 'was missing from'],
  'asset.online': ['online', 'is heard of again'],
  'asset.silent': ['silent', 'fell silent'],
  'asset.offline': ['offline', 'went offline'],
};

const CAUSES: Record<string, string> = {
  fence_changed: 'the geofence was changed',
  fence_deleted: 'the geofence was deleted',
  asset_changed: 'the asset was changed',
  asset_deleted: 'the asset was deleted',
};

const REASONS: Record<string, string> = {
  closed: 'its device signed off',
  lost: 'its connection was lost',
  closed_by_server: 'the server closed its connection',
  server_restarted: 'not back since the server restarted',
  no_messages: 'no messages',
};

/** Why nothing is heard of a device; what is none of the server's words is the device's own. */
export function reasonWords(reason: string | null | undefined): string | null {
  if (!reason) return null;
  return REASONS[reason] ?? `its device says: ${reason.replaceAll('_', ' ')}`;
}

const ofAsset = (event: FeedEvent): boolean => event.type.startsWith('asset.');

function causeWords({ type, cause }: FeedEvent): string | null {
  if (!cause) return null;
  if (type.startsWith('asset.')) return reasonWords(cause);
  if (cause === 'schedule') return type === 'geofence.exit' ? 'the schedule ended' : 'the schedule began';
  return CAUSES[cause] ?? cause.replaceAll('_', ' ');
}

function statusWords({ status, fix_time, recorded_at }: FeedEvent): string | null {
  if (status === 'retracted') return 'did not happen';
  if (status === 'revised') return 'corrected';
  if (status !== 'late') return null;
  return recorded_at ? `known ${duration((Date.parse(recorded_at) - Date.parse(fix_time)) / 1000)} late` : 'late';
}

export interface Told {
  kind: Kind;
  verb: string;
  /** What makes it other than an ordinary event. */
  notes: string[];
}

const NEAR_VERBS: Partial<Record<Kind, string>> = { enter: 'came near', exit: 'parted from' };

/** How near two came, and by whose rule. */
function nearWords({ near, geofence }: FeedEvent): string | null {
  if (!near) return null;
  const apart = near.distance_m === undefined ? 'not heard of any more' : `${metres(near.distance_m)} apart`;
  return geofence?.name ? `${apart} (${geofence.name})` : apart;
}

/** Where something happened, or with whom. */
export const placeName = (event: FeedEvent): string | null => event.near?.name ?? event.geofence?.name ?? null;

export function tell(event: FeedEvent): Told {
  const [kind, plain]: [Kind, string] = VERBS[event.type] ?? ['other', event.type.replaceAll(/[._]/g, ' ')];
  const verb = (event.near && NEAR_VERBS[kind]) ?? plain;
  const notes = [statusWords(event), causeWords(event), nearWords(event), event.initial ? 'was already inside' : null];
  return { kind, verb, notes: notes.filter((note) => note !== null) };
}

/** When it happened: where the edge was crossed, not when a fix showed it; a silence, when it was noticed. */
export function happenedMs(event: FeedEvent): number {
  const quiet = ofAsset(event) && event.recorded_at;
  return Date.parse(quiet || event.crossed_at || event.fix_time);
}

const TELLING_MS = 1_000;

/** What the time of its fix says beside the time when it happened, if that is another. */
export function fixNote(event: FeedEvent): { words: string; timeMs: number } | null {
  const timeMs = Date.parse(event.fix_time);
  if (Math.abs(timeMs - happenedMs(event)) < TELLING_MS || event.type === 'asset.online') return null;
  return { words: ofAsset(event) ? 'last heard' : 'fix', timeMs };
}

const LEAST_M = 1;

/** In what a correction differs from what was said before. */
export function differences(now: FeedEvent, before: FeedEvent): string[] {
  if (now.status === 'retracted') return [];
  const apartS = (happenedMs(now) - happenedMs(before)) / 1000;
  const found: string[] = [];
  if (Math.abs(apartS) >= 1) found.push(`${duration(Math.abs(apartS))} ${apartS < 0 ? 'earlier' : 'later'}`);
  const apartM = apart(now, before);
  if (apartM >= LEAST_M) found.push(`${metres(apartM)} away`);
  if ((now.cause ?? null) !== (before.cause ?? null)) found.push('another cause');
  if (Boolean(now.initial) !== Boolean(before.initial)) found.push(now.initial ? 'was already inside' : 'was not inside before');
  return found;
}

/** Near enough for telling people: the two are seldom more than a street apart. */
function apart(a: FeedEvent, b: FeedEvent): number {
  if (a.lat === undefined || a.lon === undefined || b.lat === undefined || b.lon === undefined) return 0;
  const east = (((a.lon - b.lon + 540) % 360) - 180) * Math.cos((a.lat * Math.PI) / 180);
  return Math.hypot(east, a.lat - b.lat) * 111_195;
}
