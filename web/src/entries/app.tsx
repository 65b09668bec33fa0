// Puts the page together: the store in the middle, the live session that fills it, the scene and the panels that show it.

import { effect } from '@preact/signals';
import { render } from 'preact';
import 'maplibre-gl/dist/maplibre-gl.css';
import * as api from '../lib/api';
import { Crowd } from '../live/crowd';
import { fromLonLat } from '../lib/mercator';
import type { FeedEvent } from '../live/messages';
import { Session } from '../live/session';
import { inBrowser } from '../live/socket';
import { Store } from '../live/store';
import { whyPlaces } from '../map/findings';
import type { Padding } from '../map/map';
import { Scene } from '../map/scene';
import { act, provide } from '../ui/actions';
import { search } from '../ui/finding';
import { Geofences } from '../ui/geofences';
import { Inquiries } from '../ui/inquiries';
import { list } from '../ui/listing';
import { Shell } from '../ui/shell';
import * as ui from '../ui/state';
import { theme } from '../ui/theme';
import './pages.css';
import './app.css';

const LIST_EVERY_MS = 500;
const AGE_EVERY_MS = 10_000;
const FENCES_EVERY_MS = 30_000;
const DOUBTS_EVERY_MS = 15_000;
const DAY_EVERY_MS = 60_000;
const FLEET_MAX_ZOOM = 15.5;
const TRIP_TOLERANCE_M = 50;
const NARROW = matchMedia('(max-width: 720px)');
const STILL = matchMedia('(prefers-reduced-motion: reduce)');

const boot = ui.readBoot();
const store = new Store();
const crowd = new Crowd();
store.still = STILL.matches;
const serverNow = () => api.clock.now();
let listedVersion = -1;

function padding(): Padding {
  if (NARROW.matches) return { top: 56, right: 0, left: 0, bottom: ui.sheet.value === 'peek' ? 96 : Math.round(innerHeight * 0.46) };
  return { top: 12, bottom: 12, left: 344, right: ui.feedOpen.value ? 324 : 60 };
}

/** What hides the map: it fills the window, so its pixels are the window's. */
const covered = (): DOMRect[] => [...document.querySelectorAll('.panel, .bar, .sheet, .controls, .heat')].map((element) => element.getBoundingClientRect());

ui.narrow.value = NARROW.matches;
const container = document.getElementById('map');
if (!container) throw new Error('The page has no #map.');

const scene = new Scene(
  store,
  crowd,
  { container, basemap: boot.basemap, bounds: boot.bounds, theme: theme.value, padding: padding(), still: STILL.matches, serverNow, covered },
  {
    select: (id) => act().select(id),
    hover: (id) => act().hover(id),
    fence: (id) => (id === null ? back() : act().fence(id)),
    refused: (what, why) => {
      if (why !== (ui.refused.value[what] ?? null)) ui.refused.value = { ...ui.refused.value, [what]: why ?? undefined };
    },
    look: (bbox, zoom) => session.look(bbox, zoom),
    moved: () => {
      listedVersion = -1;
    },
    followEnded: () => {
      ui.following.value = false;
    },
  },
);

const inquiries = new Inquiries(store, scene, serverNow);
const geofences = new Geofences(scene, boot.recent_events, say);

const session = new Session(store, crowd, inBrowser(api.signedIn), boot.event_cursor, {
  connection: (state) => {
    ui.connection.value = state;
  },
  opened: (gap) => {
    scene.reload();
    geofences.refresh().catch(say);
    if (gap) loadFirstEvents().catch(say);
  },
  changed: () => {
    scene.changed();
    inquiries.showDetail();
  },
  event: showEvent,
  ready: () => {
    ui.known.value = true;
    if (!store.size && !crowd.shown && !boot.bounds) lookForFleet().catch(say);
  },
});

/** The list follows the store and the camera, but no faster than people read. */
function listSeen(): void {
  ui.nowMs.value = serverNow();
  const version = store.version + crowd.version;
  if (listedVersion === version) return;
  listedVersion = version;
  list(store, crowd, scene.seen(), serverNow());
  const first = store.slot(0);
  if (!first || !ui.empty.value) return;
  ui.empty.value = false;
  scene.flyTo(first.entry.lon, first.entry.lat);
}

function say(error: unknown): void {
  if (error instanceof api.ApiError && error.status === 401) ui.connection.value = 'signed_out';
  ui.notice.value = error instanceof Error ? error.message : String(error);
  setTimeout(() => {
    ui.notice.value = null;
  }, 6_000);
}

/** What stands on top is put away: the explanation, then the geofence, then the asset. */
function back(): void {
  if (ui.why.value) act().why(null);
  else if (ui.fence.value) act().fence(null);
  else act().select(null);
}

/** Where the keyboard was before something stood over the lists, to go back to. */
let opener: Element | null = null;

function over(change: () => void): void {
  const isOver = () => Boolean(ui.why.value || ui.fence.value);
  const before = isOver();
  const active = document.activeElement;
  change();
  if (!before && isOver()) opener = active;
  // What held it is in the document again after this turn.
  if (before && !isOver()) requestAnimationFrame(() => opener instanceof HTMLElement && opener.isConnected && opener.focus());
}

async function ask(asked: ui.Asked): Promise<void> {
  const { event } = asked;
  const current = () => ui.why.value?.event.id === event.id;
  try {
    const answer = await api.why(event.id);
    if (!current()) return;
    ui.why.value = { event, answer, fault: null };
    scene.findings.why(event, answer);
    scene.frame(whyPlaces(event, answer));
  } catch (error) {
    if (current()) ui.why.value = { ...asked, fault: error instanceof Error ? error.message : String(error) };
  }
}

function showEvent(event: FeedEvent): void {
  ui.pushEvent(event);
  // What comes to light about the past is no sign that something happens there now.
  const now = event.status === 'live' || event.status === undefined;
  if (now && event.lon !== undefined && event.lat !== undefined) scene.pulse(fromLonLat(event.lon, event.lat));
  if (event.asset.id === ui.selected.value) (event.geofence ? inquiries.visits(event.asset.id) : inquiries.extra(event.asset.id)).catch(say);
  const asked = ui.why.value;
  if (asked && event.revises === asked.event.id) act().why(event);
  geofences.told(event);
}

/** As long as the page knows no event, there is no place to go on from: the subscription stands, now the beginning. */
async function loadFirstEvents(): Promise<void> {
  const events = await api.firstEvents();
  const last = events.at(-1);
  if (!last) return;
  if (!ui.feed.value.length) session.readTo(last.id);
  ui.appendEvents(events.toReversed());
}

async function lookForFleet(): Promise<void> {
  const box = await api.extent();
  ui.empty.value = box === null;
  if (box) scene.fit(box, FLEET_MAX_ZOOM);
}

/** One that is not in view is asked for: wherever it is, the map goes there. */
async function flyTo(id: string): Promise<void> {
  const { position } = await api.asset(id);
  if (position && ui.selected.value === id) scene.flyTo(position.lon, position.lat, 13);
}

async function lookAt(id: string): Promise<void> {
  const found = await geofences.find(id);
  if (!found) {
    ui.notice.value = 'This geofence is no more.';
    return;
  }
  over(() => {
    ui.why.value = null;
    ui.fence.value = found;
  });
  scene.findings.why(null);
  scene.chooseFence(id);
  if (ui.sheet.value === 'peek') ui.sheet.value = 'half';
}

function unlook(): void {
  over(() => {
    ui.why.value = null;
    ui.fence.value = null;
  });
  scene.findings.why(null);
  scene.chooseFence('');
}

provide({
  select(id, { fly = false } = {}) {
    if (ui.why.value || ui.fence.value) act().fence(null);
    if (id !== ui.selected.value) {
      ui.following.value = false;
      scene.follow(false);
      ui.selected.value = id;
      ui.detail.value = ui.extra.value = ui.way.value = null;
      ui.visits.value = [];
      ui.day.value = null;
      scene.findings.day(null);
      ui.wayOver.value = 'today';
      inquiries.way();
      session.follow(id);
      scene.emphasise(id, ui.hovered.value);
      inquiries.showDetail();
      if (id !== null) {
        if (ui.sheet.value === 'peek') ui.sheet.value = 'half';
        for (const asked of [inquiries.trail(id), inquiries.extra(id), inquiries.visits(id), inquiries.day(id)]) asked.catch(say);
      }
    }
    const asset = id === null ? undefined : store.get(id);
    if (fly && asset) scene.flyTo(asset.entry.lon, asset.entry.lat, 13);
  },
  hover(id) {
    ui.hovered.value = id;
    scene.emphasise(ui.selected.value, id);
  },
  follow(on) {
    ui.following.value = on;
    scene.follow(on);
  },
  fly: (lon, lat) => scene.flyTo(lon, lat),
  frame: (positions) => scene.frame(positions),
  async frameTrip(trip) {
    const id = ui.selected.value;
    if (id === null) return;
    try {
      const places = await api.outlineOfTrack(id, trip.from, trip.to ?? trip.last_fix_time, TRIP_TOLERANCE_M);
      if (ui.selected.value === id) scene.frame(places);
    } catch (error) {
      say(error);
    }
  },
  way(over) {
    ui.wayOver.value = over;
    inquiries.way();
  },
  density(over) {
    ui.densityOver.value = over;
    inquiries.density();
  },
  why(event) {
    over(() => {
      ui.why.value = event && { event, answer: null, fault: null };
    });
    scene.findings.why(event);
    if (!ui.why.value) return;
    if (ui.sheet.value === 'peek') ui.sheet.value = 'half';
    void ask(ui.why.value);
  },
  point(fix) {
    const asked = ui.why.value;
    if (asked) scene.findings.why(asked.event, asked.answer, fix);
  },
  fence(id) {
    if (id === null) unlook();
    else lookAt(id).catch(say);
  },
  frameFence: (fence) => scene.frameFence(fence),
  showFence(id) {
    lookAt(id)
      .then(() => ui.fence.value && scene.frameFence(ui.fence.value))
      .catch(say);
  },
  open: (box) => scene.open(box),
  zoom: (by) => scene.map.zoomTo(scene.map.getZoom() + by, { duration: STILL.matches ? 0 : 250 }),
  fitFleet: () => void lookForFleet().catch(say),
  showRow(row) {
    act().select(row.id, { fly: true });
    if (!store.get(row.id)) flyTo(row.id).catch(say);
  },
});

function keys(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = (event.target as HTMLElement).closest('input, textarea');
  if (event.key === 'Escape' && !typing) back();
  if (typing) return;
  if (event.key === '/') {
    event.preventDefault();
    document.getElementById('search')?.focus();
  } else if (event.key === 'f' && ui.selected.value) act().follow(!ui.following.value);
  else if (event.key === 'Home') act().fitFleet();
}

function start(): void {
  for (const event of boot.recent_events) ui.pushEvent(event);
  const root = document.getElementById('ui');
  if (!root) throw new Error('The page has no #ui.');
  render(<Shell boot={boot} />, root);
  effect(() => scene.setTheme(theme.value));
  effect(() => scene.setPadding(padding()));
  effect(() => search(say));
  NARROW.addEventListener('change', () => {
    ui.narrow.value = NARROW.matches;
    scene.setPadding(padding());
  });
  addEventListener('keydown', keys);
  addEventListener('online', () => session.hurry());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    session.hurry();
    session.check();
    geofences.refresh().catch(say);
    inquiries.again();
  });
  setInterval(listSeen, LIST_EVERY_MS);
  setInterval(() => scene.overlay.aged(), AGE_EVERY_MS);
  setInterval(() => inquiries.back(2 * DOUBTS_EVERY_MS), DOUBTS_EVERY_MS);
  setInterval(() => inquiries.again(), DAY_EVERY_MS);
  setInterval(() => !document.hidden && geofences.refresh().catch(() => undefined), FENCES_EVERY_MS);
  scene.begin();
  session.start();
}

start();
