// Words for events: what happened, in the fewest that are clear.

import type { FeedEvent } from '../live/messages';

export interface Told {
  verb: string;
  tone: 'enter' | 'exit' | 'other';
  /** What makes it other than an ordinary event. */
  note: string | null;
}

const VERBS: Record<string, string> = {
  'geofence.enter': 'entered',
  'geofence.exit': 'left',
  'geofence.dwell': 'stayed in',
  'geofence.cross': 'crossed',
};

const CAUSES: Record<string, string> = { fence_changed: 'fence changed', fence_deleted: 'fence deleted' };

export function tell(event: FeedEvent): Told {
  const tone = event.type.endsWith('.enter') ? 'enter' : event.type.endsWith('.exit') ? 'exit' : 'other';
  const status = event.status && event.status !== 'live' ? event.status : null;
  const cause = event.cause ? (CAUSES[event.cause] ?? event.cause.replaceAll('_', ' ')) : null;
  const initial = event.initial && tone === 'enter' ? 'first seen inside' : null;
  return {
    verb: VERBS[event.type] ?? event.type.replaceAll(/[._]/g, ' '),
    tone,
    note: status ?? cause ?? initial,
  };
}
