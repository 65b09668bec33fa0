// What the selected asset did today: where it stood, how far it went, whose geofences it was in.

import type { ComponentChildren } from 'preact';
import { duration, clock, metres, speed } from '../../lib/units';
import { type Entry, type Stop, timeline, type Trip, type Visit } from '../../live/day';
import { act } from '../actions';
import { day, visits } from '../state';

const SHOWN = 5;
/** Slower than people walk is no speed worth telling. */
const WALK_MPS = 0.5;

/** "09:02–09:31"; what began on another day says so by its dots. */
function span(from: string, to: string | null): string {
  const begun = Date.parse(from) < (day.value?.fromMs ?? 0) ? '…' : clock(Date.parse(from));
  return to === null ? `since ${begun === '…' ? 'before midnight' : begun}` : `${begun}–${clock(Date.parse(to))}`;
}

function StopLine({ stop }: { stop: Stop }) {
  return (
    <button type="button" class="line" onClick={() => act().fly(stop.lon, stop.lat)}>
      <span class="line-icon line-stop" aria-hidden="true" />
      <span class="line-what">Stop, {duration(stop.duration_s)}</span>
      <span class="line-when">{span(stop.from, stop.to)}</span>
    </button>
  );
}

function TripLine({ trip }: { trip: Trip }) {
  const fastest = (trip.max_speed_mps ?? 0) >= WALK_MPS && speed(trip.max_speed_mps);
  return (
    <button type="button" class="line" onClick={() => void act().frameTrip(trip)}>
      <span class="line-icon line-trip" aria-hidden="true" />
      <span class="line-what">
        {metres(trip.distance_m)} in {duration(trip.duration_s)}
        {fastest && <small>up to {fastest}</small>}
      </span>
      <span class="line-when">{span(trip.from, trip.to)}</span>
    </button>
  );
}

function VisitLine({ visit }: { visit: Visit }) {
  return (
    <button type="button" class="line" onClick={() => act().fence(visit.geofence.id)}>
      <span class="line-icon line-visit" aria-hidden="true" />
      <span class="line-what">
        {visit.geofence.name}
        {visit.initial && <small>was already inside</small>}
      </span>
      <span class="line-when">{span(visit.enter_time, visit.exit_time)}</span>
    </button>
  );
}

interface Item {
  key: string;
  line: ComponentChildren;
}

/** The newest few, and all the others on demand. */
function Lines({ label, items }: { label: string; items: Item[] }) {
  const some = (part: Item[]) => part.map(({ key, line }) => <li key={key}>{line}</li>);
  const rest = items.slice(SHOWN);
  return (
    <>
      <ul class="lines" aria-label={label}>
        {some(items.slice(0, SHOWN))}
      </ul>
      {rest.length > 0 && (
        <details class="more">
          <summary>{rest.length} earlier</summary>
          <ul class="lines" aria-label={`${label}, earlier`}>
            {some(rest)}
          </ul>
        </details>
      )}
    </>
  );
}

function lineOf(entry: Entry): Item {
  return entry.kind === 'stop'
    ? { key: `stop ${entry.stop.from}`, line: <StopLine stop={entry.stop} /> }
    : { key: `trip ${entry.trip.from}`, line: <TripLine trip={entry.trip} /> };
}

const count = (number: number, one: string): string => `${number} ${one}${number === 1 ? '' : 's'}`;

export function DayLines() {
  const shown = day.value;
  if (!shown || (!shown.stops.length && !shown.trips.length && !visits.value.length)) return null;
  const { stops, trips } = shown;
  const wayM = trips.reduce((sum, trip) => sum + trip.distance_m, 0);
  const stays = visits.value.toReversed().map((visit) => ({ key: visit.id, line: <VisitLine visit={visit} /> }));
  return (
    <section aria-label="Today">
      <h3>
        Today: {count(trips.length, 'trip')}
        {trips.length > 0 && `, ${metres(wayM)}`}; {count(stops.length, 'stop')}
      </h3>
      <Lines label="Stops and trips" items={timeline(shown).map(lineOf)} />
      {stays.length > 0 && (
        <>
          <h3>Geofences today</h3>
          <Lines label="Visits" items={stays} />
        </>
      )}
    </section>
  );
}
