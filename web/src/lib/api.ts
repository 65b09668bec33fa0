// The few REST calls the page makes, with the session's cookie. Answers feed the clock; faults are one readable sentence.

import type { FeatureCollection, Feature } from 'geojson';
import { Clock } from '../live/clock';
import type { Entry, FeedEvent } from '../live/messages';

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

export async function geofences(): Promise<Feature[]> {
  const all: Feature[] = [];
  let after = '';
  do {
    const page: FencePage = await get(`/v1/geofences?limit=1000${after && `&after=${part(after)}`}`);
    all.push(...page.features);
    after = page.next ?? '';
  } while (after);
  return all;
}

export interface AssetDetail {
  id: string;
  name: string;
  tags?: string[];
  active_device?: string | null;
  position?: Entry | null;
}

export const asset = (id: string): Promise<AssetDetail> => get(`/v1/assets/${part(id)}`);

/** Every fix, also those that are not believed: each has its flags. */
export const track = (id: string, from: Date, to: Date): Promise<FeatureCollection> =>
  get(`/v1/assets/${part(id)}/track?from=${from.toISOString()}&to=${to.toISOString()}`);

export interface Visit {
  geofence: { id: string; name: string };
  enter_time: string;
  exit_time: string | null;
}

/** The stays that have not ended. */
export async function openVisits(id: string, now: Date): Promise<Visit[]> {
  const { visits } = await get<{ visits: Visit[] }>(`/v1/assets/${part(id)}/visits?from=${now.toISOString()}`);
  return visits.filter((visit) => visit.exit_time === null);
}

/** The feed from its beginning, oldest first. */
export async function firstEvents(): Promise<FeedEvent[]> {
  return (await get<{ events: FeedEvent[] }>('/v1/events?limit=1000')).events;
}

export const positions = (): Promise<FeatureCollection> => get('/v1/positions');

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
