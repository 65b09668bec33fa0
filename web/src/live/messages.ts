// What travels on /v1/live. The server's own words: nothing is renamed on the way in. Views come as binary frames
// (codec.ts), all else as JSON.

/** west, south, east, north; west > east crosses the antimeridian. */
export type Bbox = [number, number, number, number];

export interface Entry {
  id: string;
  name: string;
  lon: number;
  lat: number;
  course_deg: number | null;
  speed_mps: number | null;
  accuracy_m: number | null;
  alt_m: number | null;
  fix_time: string;
  device?: string | null;
  tags?: string[];
  flags?: string[];
  attributes?: Record<string, unknown> | null;
  /** Left out while it is online. */
  state?: 'silent' | 'offline';
}

/** What a record of a binary frame tells. */
export interface Told {
  id: string;
  lon: number;
  lat: number;
  fix_ms: number;
  speed_mps: number | null;
  course_deg: number | null;
  state: 'online' | 'silent' | 'offline';
  revision: number;
}

/** What is known of an asset. */
export interface Known extends Omit<Entry, 'fix_time'> {
  fix_ms: number;
  /** It comes from a record, which tells less than an entry, and not as exactly. */
  partial?: true;
}

/** A cell of the map and the middle of the assets in it; a count of 0: there are none any more. */
export interface Cluster {
  id: string;
  lon: number;
  lat: number;
  count: number;
}

export const known = ({ fix_time, ...entry }: Entry): Known => ({ ...entry, fix_ms: Date.parse(fix_time) });

export interface Named {
  id: string;
  name: string;
}

export interface FeedEvent {
  id: string;
  type: string;
  status?: string;
  asset: Named;
  geofence?: Named | null;
  fix_time: string;
  recorded_at?: string;
  lon?: number;
  lat?: number;
  initial?: boolean;
  revises?: string | null;
  cause?: string | null;
  crossed_at?: string;
  crossed_lon?: number;
  crossed_lat?: number;
  /** The other asset of an event about two; no distance when nobody knew any more. */
  near?: Named & { distance_m?: number };
}

export type ServerMessage =
  | { type: 'snapshot'; id: number; assets: Entry[] }
  | { type: 'update'; id: number; assets?: Entry[]; remove?: string[] }
  | { type: 'names'; assets: { id: string; name: string; tags: string[]; revision: number }[] }
  | { type: 'event'; id: number; event: FeedEvent }
  | { type: 'error'; id?: number; code: string; message: string };

export type ClientMessage =
  | { type: 'view'; id: number; bbox: Bbox; zoom: number; max_hz: number }
  | { type: 'follow'; id: number; assets: string[] }
  | { type: 'events'; id: number; after?: string };
