// One asset: what is known of it now, and how fast it went in the last half hour.

import { computed, signal } from '@preact/signals';
import type { Connection } from '../../lib/api';
import { age, ago, clock, course, latLon, metres, speed, timeOfDay } from '../../lib/units';
import { act } from '../actions';
import { reasonWords } from '../format';
import { SpanPicker } from '../span';
import { Copy, Offline, Online, Silent, Target } from '../icons';
import { type Detail, detail, extra, following, nowMs, refused, selected, visits, way, type Way, wayOver } from '../state';
import { DayLines } from './day';
import { Mark } from './fleet';
import { Head } from './head';

const STATE_WORDS = { moving: 'Moving', still: 'Standing', stale: 'No recent fix' } as const;
const CHART_WIDTH = 280;
const CHART_HEIGHT = 44;

function Fact({ name, value }: { name: string; value: string | null | undefined }) {
  if (value == null || value === '') return null;
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Chart({ speeds }: { speeds: Way['speeds'] }) {
  if (speeds.length < 3) return null;
  const first = speeds[0]?.[0] ?? 0;
  const span = Math.max(1, (speeds.at(-1)?.[0] ?? 0) - first);
  const top = Math.max(1, ...speeds.map(([, mps]) => mps));
  const x = (time: number) => (((time - first) / span) * CHART_WIDTH).toFixed(1);
  const y = (mps: number) => (CHART_HEIGHT - 2 - (mps / top) * (CHART_HEIGHT - 6)).toFixed(1);
  const line = speeds.map(([time, mps]) => `${x(time)},${y(mps)}`).join(' ');
  return (
    <figure class="chart">
      <figcaption>
        <span>Speed, last {age(span)}</span>
        <span>up to {speed(top)}</span>
      </figcaption>
      <svg viewBox={`0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`Speed over time, up to ${speed(top)}`}>
        <polygon points={`0,${CHART_HEIGHT} ${line} ${CHART_WIDTH},${CHART_HEIGHT}`} />
        <polyline points={line} />
      </svg>
    </figure>
  );
}

const copied = signal(false);

function CopyPlace({ lat, lon }: { lat: number; lon: number }) {
  const place = latLon(lat, lon);
  const copy = async () => {
    await navigator.clipboard?.writeText(place);
    copied.value = true;
    setTimeout(() => {
      copied.value = false;
    }, 1_500);
  };
  return (
    <button type="button" class="button" onClick={() => void copy()} title="Copy latitude, longitude">
      <Copy /> {copied.value ? 'Copied' : place}
    </button>
  );
}

const inside = computed(() => visits.value.filter((visit) => visit.exit_time === null));

function Inside() {
  if (!inside.value.length) return null;
  return (
    <ul class="inside" aria-label="In these geofences">
      {inside.value.map(({ id, geofence, enter_time }) => (
        <li key={id}>
          <button type="button" onClick={() => act().fence(geofence.id)}>
            In <strong>{geofence.name}</strong> <span>{age(nowMs.value - Date.parse(enter_time))}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

const CONTACT = {
  never: { Icon: Offline, words: 'Never heard of' },
  online: { Icon: Online, words: 'Online' },
  silent: { Icon: Silent, words: 'Silent' },
  offline: { Icon: Offline, words: 'Offline' },
} as const;

/** Whether its device is heard of, since when, why not, and what comes next. */
function Contact({ of: { state, since, reason, last_heard_at, deadline_at } }: { of: Connection }) {
  const { Icon, words } = CONTACT[state];
  const why = reasonWords(reason);
  return (
    <div class={`contact contact-${state}`}>
      <Icon />
      <p>
        <strong>{words}</strong>
        {since && ` since ${timeOfDay(Date.parse(since), nowMs.value)}`}
        {why && `: ${why}`}
        {state !== 'online' && last_heard_at && <small>Last heard {timeOfDay(Date.parse(last_heard_at), nowMs.value)}</small>}
        {state === 'silent' && deadline_at && <small>Offline at {clock(Date.parse(deadline_at))} if nothing comes</small>}
      </p>
    </div>
  );
}

function WayOver() {
  const over = wayOver.value;
  return (
    <>
      <SpanPicker label="Way on the map" reaches={['today', 'week', 'month', 'year']} value={over} choose={(span) => act().way(span)} />
      {refused.value.way && <p class="warn">{refused.value.way}</p>}
      {over !== 'today' && !refused.value.way && <p class="muted">Without fixes that are not believed; soft lines are less exact. Click a line for its time.</p>}
    </>
  );
}

function Attributes({ attributes }: { attributes: Record<string, unknown> }) {
  const entries = Object.entries(attributes);
  if (!entries.length) return null;
  const show = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  return (
    <>
      <h3>Attributes</h3>
      <dl class="facts facts-wide">
        {entries.map(([name, value]) => (
          <Fact key={name} name={name} value={show(value)} />
        ))}
      </dl>
    </>
  );
}

function Facts({ entry, fixMs }: Detail) {
  return (
    <dl class="facts">
      <Fact name="Course" value={course(entry.course_deg)} />
      <Fact name="Accuracy" value={entry.accuracy_m == null ? null : `± ${metres(entry.accuracy_m)}`} />
      <Fact name="Altitude" value={metres(entry.alt_m)} />
      <Fact name="Travelled" value={way.value && way.value.lengthM > 20 ? `${metres(way.value.lengthM)} in ${age(way.value.spanMs)}` : null} />
      <Fact name="Last fix" value={timeOfDay(fixMs, nowMs.value)} />
      <Fact name="Device" value={entry.device ?? extra.value?.device} />
    </dl>
  );
}

export function AssetPanel() {
  const shown = detail.value;
  if (!shown) {
    return (
      <div class="pane detail asset">
        <Header name={selected.value ?? ''} />
        <p class="nothing">{extra.value?.contact?.state === 'never' ? 'It has never been heard of.' : 'Waiting for its position…'}</p>
      </div>
    );
  }
  const { entry, state, fixMs, colour } = shown;
  const tags = entry.tags?.length ? entry.tags : (extra.value?.tags ?? []);
  return (
    <div class="pane detail asset">
      <Header name={entry.name} />
      <div class="scroll pad">
        <p class="headline">
          <Mark state={state} colour={colour} />
          <span class="headline-speed">{state === 'moving' ? (speed(entry.speed_mps) ?? 'Moving') : STATE_WORDS[state]}</span>
          <span class={`headline-age${state === 'stale' ? ' warn' : ''}`}>{ago(nowMs.value - fixMs)}</span>
        </p>
        <div class="actions">
          <button type="button" class="button" aria-pressed={following.value} onClick={() => act().follow(!following.value)}>
            <Target /> {following.value ? 'Following' : 'Follow'}
          </button>
          <CopyPlace lat={entry.lat} lon={entry.lon} />
        </div>
        {(tags.length > 0 || (entry.flags?.length ?? 0) > 0) && (
          <p class="chips">
            {tags.map((tag) => (
              <span class="chip" key={tag}>
                {tag}
              </span>
            ))}
            {entry.flags?.map((flag) => (
              <span class="chip chip-warn" key={flag}>
                {flag.replaceAll('_', ' ')}
              </span>
            ))}
          </p>
        )}
        {extra.value?.contact && <Contact of={extra.value.contact} />}
        <Inside />
        <Facts {...shown} />
        {way.value && <Chart speeds={way.value.speeds} />}
        <WayOver />
        <DayLines />
        {entry.attributes && <Attributes attributes={entry.attributes} />}
      </div>
    </div>
  );
}

function Header({ name }: { name: string }) {
  return <Head name={name} back="Back to the fleet" onBack={() => act().select(null)} />;
}
