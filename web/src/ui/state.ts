// What the page shows, as signals. Written by the entry, read by the panels; nobody else keeps a copy.

import { computed, signal } from '@preact/signals';
import type { Feature } from 'geojson';
import type { Connection as Contact, Why } from '../lib/api';
import type { Day, Visit } from '../live/day';
import type { Bbox, FeedEvent, Known } from '../live/messages';
import type { Connection } from '../live/socket';
import type { State } from '../live/store';
import type { Basemap, Theme } from '../map/style';
import { threads } from './threads';

export interface Boot {
  version: string;
  user: { name: string; role: string };
  event_cursor: string | null;
  recent_events: FeedEvent[];
  bounds: Bbox | null;
  basemap: Basemap;
}

export interface Row {
  id: string;
  name: string;
  state: State;
  colour: number;
  speedMps: number | null;
  fixMs: number;
  tags: string[];
}

/** Several assets in one place, of which there are too many to list. */
export interface ClusterRow {
  id: string;
  count: number;
  lon: number;
  lat: number;
  box: Bbox;
}

export interface Detail {
  entry: Known;
  state: State;
  fixMs: number;
  colour: number;
}

export interface Way {
  lengthM: number;
  spanMs: number;
  /** [time, speed] of the recent track, for the little chart. */
  speeds: [number, number][];
}

/** An event that is asked about, and what the server says, once it has. */
export interface Asked {
  event: FeedEvent;
  answer: Why | null;
  fault: string | null;
}

export interface Extra {
  tags: string[];
  device: string | null;
  contact: Contact | null;
}

export type ThemeChoice = 'auto' | Theme;
export type Tab = 'fleet' | 'events';
export type Sheet = 'peek' | 'half' | 'full';

const FEED_KEPT = 500;

export const connection = signal<Connection>('connecting');
export const selected = signal<string | null>(null);
export const hovered = signal<string | null>(null);
export const following = signal(false);
export const rows = signal<Row[]>([]);
/** Null: the list names assets. */
export const clusters = signal<ClusterRow[] | null>(null);
export const elsewhere = signal<Row[] | null>(null);
export const query = signal('');
export const detail = signal<Detail | null>(null);
export const extra = signal<Extra | null>(null);
/** The stays of the selected asset today, in the order of entering. */
export const visits = signal<Visit[]>([]);
export const day = signal<Day | null>(null);
export const fences = signal<Feature[]>([]);
/** The geofence that is looked at, and the event that is asked about: they stand over what is selected. */
export const fence = signal<Feature | null>(null);
export const why = signal<Asked | null>(null);
export const way = signal<Way | null>(null);
export const feed = signal<FeedEvent[]>([]);
export const told = computed(() => threads(feed.value));
export const nowMs = signal(Date.now());
/** The first snapshot has come: an empty list means an empty view. */
export const known = signal(false);
export const empty = signal(false);
export const tab = signal<Tab>('fleet');
export const sheet = signal<Sheet>('half');
export const feedOpen = signal(true);
export const notice = signal<string | null>(null);
export const narrow = signal(false);

export const listed = computed(() => {
  const words = query.value.trim().toLowerCase();
  if (!words) return rows.value;
  return rows.value.filter((row) => matches(row, words));
});

export const listedElsewhere = computed(() => {
  const words = query.value.trim().toLowerCase();
  if (!words || !elsewhere.value) return [];
  const here = new Set(rows.value.map((row) => row.id));
  return elsewhere.value.filter((row) => !here.has(row.id) && matches(row, words)).slice(0, 50);
});

/** By name or tag, like assets. */
export const listedFences = computed(() => {
  const words = query.value.trim().toLowerCase();
  if (!words) return [];
  return fences.value.filter(({ properties }) => {
    const tags: unknown[] = Array.isArray(properties?.tags) ? properties.tags : [];
    return [properties?.name, ...tags].some((text) => String(text ?? '').toLowerCase().includes(words));
  });
});

function matches(row: Row, words: string): boolean {
  return row.name.toLowerCase().includes(words) || row.tags.some((tag) => tag.toLowerCase().includes(words));
}

export function pushEvent(event: FeedEvent): void {
  if (feed.value.some((known) => known.id === event.id)) return;
  feed.value = [event, ...feed.value].slice(0, FEED_KEPT);
}

/** Events from before those that are shown; newest first, like the feed. */
export function appendEvents(events: readonly FeedEvent[]): void {
  const shown = new Set(feed.value.map((event) => event.id));
  feed.value = [...feed.value, ...events.filter((event) => !shown.has(event.id))].slice(0, FEED_KEPT);
}

export const readBoot = (): Boot => JSON.parse(document.getElementById('boot')?.textContent ?? '{}') as Boot;
