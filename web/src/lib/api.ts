// The few REST calls the page makes, with the session's cookie. Answers feed the clock; faults are one readable sentence.

import type { Feature, FeatureCollection, Position } from 'geojson';
import { Clock } from '../live/clock';
import type { Stop, Trip, Visit } from '../live/day';
import type { Bbox, Entry, FeedEvent } from '../live/messages';

export const clock = new Clock();

export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const sent = Date.now();
  const response = await fetch(path, { ...init, headers: { Accept: 'application/json', ...init.headers } });
  clock.observe(sent, Date.now(), response.headers.get('Date'));
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as { detail?: string; title?: string } | null;
  throw new ApiError(response.status, problem?.detail ?? problem?.title ?? `The server answered ${response.status}.`);
}

async function get<T>(path: string): Promise<T> {
  return (await (await request(path)).json()) as T;
}

const part = encodeURIComponent;

export async function signedIn(): Promise<boolean> {
  try {
    await request('/v1/geofences?limit=1');
    return true;
  } catch (error) {
    if (error instanceof ApiError) return error.status !== 401 && error.status !== 403;
    throw error;
  }
}

interface FencePage {
  features: Feature[];
  next: string | null;
}

export const geofence = (id: string): Promise<Feature> => get(`/v1/geofences/${part(id)}`);

export interface Found<T> {
  items: T[];
  more: boolean;
}

const found = <T>(items: T[], next: string | null): Found<T> => ({ items, more: next !== null });

/** Those with these words in the name or a tag. */
export async function searchAssets(words: string, limit: number): Promise<Found<AssetDetail>> {
  const { assets, next } = await get<{ assets: AssetDetail[]; next: string | null }>(`/v1/assets?limit=${limit}&q=${part(words)}`);
  return found(assets, next);
}

export async function searchGeofences(words: string, limit: number): Promise<Found<Feature>> {
  const { features, next } = await get<FencePage>(`/v1/geofences?limit=${limit}&q=${part(words)}`);
  return found(features, next);
}

export type ConnectionState = 'never' | 'online' | 'silent' | 'offline';

/** Whether its device is heard of. */
export interface Connection {
  state: ConnectionState;
  since: string | null;
  reason: string | null;
  last_heard_at: string | null;
  /** When the state changes if nothing is heard until then. */
  deadline_at: string | null;
}

export interface AssetDetail {
  id: string;
  name: string;
  tags?: string[];
  active_device?: string | null;
  position?: Entry | null;
  connection?: Connection;
}

export const asset = (id: string): Promise<AssetDetail> => get(`/v1/assets/${part(id)}`);

/** Every fix, also those that are not believed: each has its flags. */
export const track = (id: string, from: Date, to: Date): Promise<FeatureCollection> =>
  get(`/v1/assets/${part(id)}/track?from=${from.toISOString()}&to=${to.toISOString()}`);

/** Places on the way between two times, to this many metres: enough to look at it as a whole. */
export async function outlineOfTrack(id: string, from: string, to: string, toleranceM: number): Promise<Position[]> {
  const { features }: FeatureCollection = await get(`/v1/assets/${part(id)}/track?from=${part(from)}&to=${part(to)}&quality=trusted&tolerance_m=${toleranceM}`);
  return features.flatMap(({ geometry }) => (geometry.type === 'LineString' ? geometry.coordinates : geometry.type === 'Point' ? [geometry.coordinates] : []));
}

/** A list of an asset's since a time, page by page. */
async function since<T>(id: string, name: string, fromMs: number): Promise<T[]> {
  const all: T[] = [];
  let after = '';
  do {
    const asked = `/v1/assets/${part(id)}/${name}?limit=1000&from=${new Date(fromMs).toISOString()}`;
    const page: Record<string, T[]> & { next: string | null } = await get(asked + (after && `&after=${part(after)}`));
    all.push(...(page[name] ?? []));
    after = page.next ?? '';
  } while (after);
  return all;
}

/** The stays that had not ended then, or began later. */
export const visits = (id: string, fromMs: number): Promise<Visit[]> => since(id, 'visits', fromMs);
export const stops = (id: string, fromMs: number): Promise<Stop[]> => since(id, 'stops', fromMs);
export const trips = (id: string, fromMs: number): Promise<Trip[]> => since(id, 'trips', fromMs);

export type Says = 'in' | 'out' | 'unsure';

/** One fix, and what it said to the geofence. */
export interface Evidence {
  fix_time: string;
  lon: number;
  lat: number;
  accuracy_m: number | null;
  flags: string[];
  /** Null: the geofence did not see it. */
  says: Says | null;
  because: string;
  part: 'before' | 'run' | 'decided' | null;
}

/** What an event follows from. Without a geofence there is but the summary. */
export interface Why {
  event: FeedEvent;
  stands: boolean;
  corrections: FeedEvent[];
  summary: string;
  pending?: boolean;
  geofence?: { id: string; name: string; version: number; newest_version: number; deleted: boolean };
  rule?: Record<string, unknown>;
  fixes?: Evidence[];
  fixes_left_out?: boolean;
}

export const why = (event: string): Promise<Why> => get(`/v1/events/${part(event)}/why`);

/** The feed from its beginning, oldest first. */
export async function firstEvents(): Promise<FeedEvent[]> {
  return (await get<{ events: FeedEvent[] }>('/v1/events?limit=1000')).events;
}

/** The smallest box around the fleet; null: nobody has a position. */
export const extent = async (): Promise<Bbox | null> => (await get<{ bbox: Bbox | null }>('/v1/positions/extent')).bbox;

export interface NewDevice {
  id: string;
  token: string;
  asset: { id: string; name: string };
}

export async function makeDevice(name: string): Promise<NewDevice> {
  const response = await request('/v1/devices', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name }),
  });
  return (await response.json()) as NewDevice;
}
