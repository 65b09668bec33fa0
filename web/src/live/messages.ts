// What travels on /v1/live, as JSON. The server's own words: nothing is renamed on the way in.

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
}

export type ServerMessage =
  | { type: 'snapshot'; id: number; assets: Entry[] }
  | { type: 'update'; id: number; assets?: Entry[]; remove?: string[] }
  | { type: 'event'; id: number; event: FeedEvent }
  | { type: 'error'; id?: number; code: string; message: string };

export type ClientMessage =
  | { type: 'view'; id: number; bbox: Bbox; zoom: number; max_hz: number }
  | { type: 'follow'; id: number; assets: string[] }
  | { type: 'events'; id: number; after?: string };
