// What the page shows, as signals. Written by the entry, read by the panels; nobody else keeps a copy.

import { computed, signal } from '@preact/signals';
import type { Feature } from 'geojson';
import type { Connection as Contact, ConnectionState, Why } from '../lib/api';
import type { Span } from '../lib/span';
import type { Day, Visit } from '../live/day';
import type { Bbox, FeedEvent, Known } from '../live/messages';
import type { Connection } from '../live/socket';
import type { State } from '../live/store';
import type { Basemap, Ours, Theme } from '../map/style';
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
  /** Of one who is not in view: when it was heard of last. */
  fixMs: number | null;
  tags: string[];
  /** Only of one who was found by the server: all else is not known here. */
  contact?: ConnectionState;
}

/** What the server found for some words, in the whole fleet. */
export interface Found {
  words: string;
  rows: Row[];
  more: boolean;
  fences: Feature[];
  moreFences: boolean;
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
export const query = signal('');
export const searched = computed(() => query.value.trim().toLowerCase());
export const found = signal<Found | null>(null);
export const detail = signal<Detail | null>(null);
export const extra = signal<Extra | null>(null);
/** The stays of the selected asset today, in the order of entering. */
export const visits = signal<Visit[]>([]);
export const day = signal<Day | null>(null);
/** The geofence that is looked at, and the event that is asked about: they stand over what is selected. */
export const fence = signal<Feature | null>(null);
export const why = signal<Asked | null>(null);
export const way = signal<Way | null>(null);
/** Over which time the selected asset's way is shown, and where the fleet has been; null: that is not shown. */
export const wayOver = signal<Span>('today');
export const densityOver = signal<Span | null>(null);
/** Why the server makes no tiles of something, and what helps, in its own words. */
export const refused = signal<Partial<Record<Ours, string>>>({});
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
  const words = searched.value;
  return words ? rows.value.filter((row) => matches(row, words)) : rows.value;
});

/** What the server found for other words holds as far as it has these, too, until it answers for these. */
export const listedElsewhere = computed(() => {
  const words = searched.value;
  if (!words || !found.value) return [];
  const here = new Set(rows.value.map((row) => row.id));
  return found.value.rows.filter((row) => !here.has(row.id) && matches(row, words));
});

export const listedFences = computed(() => (searched.value && found.value?.words === searched.value ? found.value.fences : []));

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
