// The frame around the map: bar, panels, controls. On a narrow screen the panels are one sheet that comes from below.

import { useRef } from 'preact/hooks';
import type { Connection } from '../live/socket';
import { act } from './actions';
import { Density } from './density';
import { Bell, Door, Fit, Heat, Minus, Moon, Plus, Sun } from './icons';
import { AssetPanel } from './panels/asset';
import { Empty } from './panels/empty';
import { Feed } from './panels/feed';
import { FencePanel } from './panels/fence';
import { Fleet } from './panels/fleet';
import { WhyPanel } from './panels/why';
import { type Boot, connection, densityOver, empty, feedOpen, fence, narrow, notice, refused, type Sheet, selected, sheet, tab, told, why } from './state';
import { theme, turn } from './theme';

const WORDS: Record<Connection, string> = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  offline: 'Offline',
  signed_out: 'Signed out',
};
const SHEETS: Sheet[] = ['peek', 'half', 'full'];
const DRAG_PX = 40;

function Connected() {
  const state = connection.value;
  return (
    <span class={`connection connection-${state}`} role="status">
      <span class="connection-dot" aria-hidden="true" />
      {WORDS[state]}
    </span>
  );
}

function Bar({ boot }: { boot: Boot }) {
  return (
    <header class="bar">
      <span class="brand">
        <svg class="logo" viewBox="0 0 20 20" aria-hidden="true">
          <path d="m10 1.500 6.500 16L10 14l-6.500 3.500Z" />
        </svg>
        Tracker
      </span>
      <Connected />
      <form class="sign-out" method="post" action="/sign-out">
        <button type="submit" class="plain" aria-label={`Sign out ${boot.user.name}`} title={`${boot.user.name} (${boot.user.role}): sign out`}>
          <Door />
        </button>
      </form>
    </header>
  );
}

function Controls() {
  return (
    <div class="controls" role="group" aria-label="Map">
      <button type="button" aria-label="Zoom in" onClick={() => act().zoom(1)}>
        <Plus />
      </button>
      <button type="button" aria-label="Zoom out" onClick={() => act().zoom(-1)}>
        <Minus />
      </button>
      <button type="button" aria-label="Show the whole fleet" title="Show the whole fleet" onClick={() => act().fitFleet()}>
        <Fit />
      </button>
      <button
        type="button"
        aria-label="Where the fleet has been"
        title="Where the fleet has been"
        aria-pressed={densityOver.value !== null}
        onClick={() => act().density(densityOver.value ? null : 'day')}
      >
        <Heat />
      </button>
      <button type="button" aria-label={theme.value === 'dark' ? 'Use the light theme' : 'Use the dark theme'} onClick={turn}>
        {theme.value === 'dark' ? <Sun /> : <Moon />}
      </button>
      {!narrow.value && (
        <button
          type="button"
          aria-label={feedOpen.value ? 'Hide the events' : 'Show the events'}
          aria-pressed={feedOpen.value}
          onClick={() => (feedOpen.value = !feedOpen.value)}
        >
          <Bell />
        </button>
      )}
    </div>
  );
}

function Notice() {
  if (connection.value === 'signed_out') {
    return (
      <p class="notice" role="alert">
        Your session has ended. <a href="/sign-in">Sign in again</a>
      </p>
    );
  }
  if (connection.value === 'offline') {
    return <p class="notice">The server cannot be reached. What you see is the last known state; the page goes on trying.</p>;
  }
  const said = notice.value ?? (refused.value.geofences ? 'Too many geofences to draw them here: zoom in.' : null);
  return said ? (
    <p class="notice" role="status">
      {said}
    </p>
  ) : null;
}

/** What stands over the lists; null: nothing does. */
function Above() {
  if (why.value) return <WhyPanel />;
  if (fence.value) return <FencePanel />;
  return selected.value ? <AssetPanel /> : null;
}

const isAbove = () => Boolean(why.value || fence.value || selected.value);

function nameAbove(): string {
  if (why.value) return 'Explanation';
  if (fence.value) return 'Geofence';
  return selected.value ? 'Asset' : 'Fleet';
}

function Wide() {
  return (
    <>
      <section class="panel panel-left" aria-label={nameAbove()}>
        {isAbove() ? <Above /> : <Fleet />}
      </section>
      {feedOpen.value && (
        <section class="panel panel-right" aria-label="Events">
          <header class="pane-head">
            <h2>Events</h2>
          </header>
          <Feed />
        </section>
      )}
    </>
  );
}

function BottomSheet() {
  const start = useRef<{ y: number; moved: boolean } | null>(null);
  const step = (by: number) => {
    const next = SHEETS[SHEETS.indexOf(sheet.value) + by];
    if (next) sheet.value = next;
  };
  const down = (event: PointerEvent) => {
    start.current = { y: event.clientY, moved: false };
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent) => {
    if (!start.current) return;
    const dy = event.clientY - start.current.y;
    if (Math.abs(dy) < DRAG_PX) return;
    step(dy < 0 ? 1 : -1);
    start.current = { y: event.clientY, moved: true };
  };
  const click = () => {
    if (!start.current?.moved) sheet.value = sheet.value === 'peek' ? 'half' : 'peek';
    start.current = null;
  };
  const choose = (name: 'fleet' | 'events') => () => {
    tab.value = name;
    if (sheet.value === 'peek') sheet.value = 'half';
  };
  return (
    <section class={`sheet sheet-${sheet.value}`} aria-label="Fleet and events">
      <button
        type="button"
        class="grip"
        aria-label={sheet.value === 'peek' ? 'Open the panel' : 'Close the panel'}
        aria-expanded={sheet.value !== 'peek'}
        onPointerDown={down}
        onPointerMove={move}
        onClick={click}
      />
      {!isAbove() && (
        <div class="tabs" role="tablist">
          <button type="button" role="tab" aria-selected={tab.value === 'fleet'} onClick={choose('fleet')}>
            Fleet
          </button>
          <button type="button" role="tab" aria-selected={tab.value === 'events'} onClick={choose('events')}>
            Events {told.value.length > 0 && <span class="count">{told.value.length}</span>}
          </button>
        </div>
      )}
      {isAbove() ? <Above /> : tab.value === 'fleet' ? <Fleet /> : <Feed />}
    </section>
  );
}

export function Shell({ boot }: { boot: Boot }) {
  const mayMake = boot.user.role === 'admin' || boot.user.role === 'dispatcher';
  return (
    <>
      <Bar boot={boot} />
      <Notice />
      {narrow.value ? <BottomSheet /> : <Wide />}
      <Density />
      <Controls />
      {empty.value && <Empty mayMake={mayMake} />}
    </>
  );
}
