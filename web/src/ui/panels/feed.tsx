// The event feed, newest on top. It grows by itself; a reader who scrolled down is not moved.

import type { FeedEvent } from '../../live/messages';
import { age, timeOfDay } from '../../lib/units';
import { act } from '../actions';
import { tell } from '../format';
import { Dot, Enter, Exit } from '../icons';
import { feed, nowMs } from '../state';

const ICONS = { enter: Enter, exit: Exit, other: Dot } as const;

function Item({ event }: { event: FeedEvent }) {
  const { verb, tone, note } = tell(event);
  const Icon = ICONS[tone];
  const time = Date.parse(event.fix_time);
  const open = () => {
    act().select(event.asset.id);
    if (event.lon !== undefined && event.lat !== undefined) act().fly(event.lon, event.lat);
  };
  return (
    <li class={`event event-${tone}${event.status === 'retracted' ? ' event-gone' : ''}`}>
      <button type="button" onClick={open}>
        <span class="event-icon">
          <Icon />
        </span>
        <span class="event-text">
          <strong>{event.asset.name}</strong> {verb} {event.geofence && <strong>{event.geofence.name}</strong>}
          {note && <span class="chip chip-small">{note}</span>}
        </span>
        <time class="row-age" dateTime={event.fix_time} title={timeOfDay(time, nowMs.value)}>
          {age(nowMs.value - time)}
        </time>
      </button>
    </li>
  );
}

export function Feed() {
  const events = feed.value;
  if (!events.length) {
    return (
      <div class="pane">
        <p class="nothing">No events yet. They appear here when an asset enters or leaves a geofence.</p>
      </div>
    );
  }
  return (
    <div class="pane">
      <div class="scroll" role="log" aria-label="Events, newest first" aria-live="polite" aria-relevant="additions">
        <ol class="events">
          {events.map((event) => (
            <Item key={event.id} event={event} />
          ))}
        </ol>
      </div>
    </div>
  );
}
