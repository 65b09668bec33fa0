// The event feed, newest on top. It grows by itself; a reader who scrolled down is not moved.
//
// What was corrected stands under its correction, so that no two lines contradict each other.

import type { FeedEvent } from '../../live/messages';
import { age, timeOfDay } from '../../lib/units';
import { act } from '../actions';
import { differences, fixNote, happenedMs, placeName, tell, type Kind } from '../format';
import { Absent, Cross, Dot, Dwell, Enter, Exit, Offline, Online, Silent, Speeding } from '../icons';
import { feed, nowMs, told, why } from '../state';
import type { Thread } from '../threads';

const ICONS: Record<Kind, typeof Dot> = {
  enter: Enter,
  exit: Exit,
  dwell: Dwell,
  cross: Cross,
  speeding: Speeding,
  absent: Absent,
  online: Online,
  silent: Silent,
  offline: Offline,
  other: Dot,
};

export function EventIcon({ kind }: { kind: Kind }) {
  const Icon = ICONS[kind];
  return (
    <span class={`event-icon event-icon-${kind}`}>
      <Icon />
    </span>
  );
}

/** Who did what where; read as one sentence. */
export function Sentence({ event }: { event: FeedEvent }) {
  return (
    <>
      <strong>{event.asset.name}</strong> {tell(event).verb} {placeName(event) && <strong>{placeName(event)}</strong>}
    </>
  );
}

export function When({ event }: { event: FeedEvent }) {
  const fix = fixNote(event);
  return (
    <>
      {timeOfDay(happenedMs(event), nowMs.value)}
      {fix && ` · ${fix.words} ${timeOfDay(fix.timeMs, nowMs.value)}`}
    </>
  );
}

function Before({ thread: { head, past } }: { thread: Thread }) {
  if (!head.revises) return null;
  const [last] = past;
  const changed = last ? differences(head, last) : [];
  return (
    <div class="event-past">
      {changed.length > 0 && <p>Now {changed.join(', ')}. Before:</p>}
      {past.map((event) => (
        <p key={event.id}>
          <s>
            {tell(event).verb} <When event={event} />
          </s>
        </p>
      ))}
      {!past.length && <p>What it corrects is older than this list.</p>}
    </div>
  );
}

function Item({ thread }: { thread: Thread }) {
  const { head } = thread;
  const { kind, notes } = tell(head);
  const gone = head.status === 'retracted';
  const open = () => {
    act().select(head.asset.id);
    if (head.lon !== undefined && head.lat !== undefined) act().fly(head.lon, head.lat);
  };
  return (
    <li class={`event${gone ? ' event-gone' : ''}`} aria-current={why.value?.event.id === head.id ? 'true' : undefined}>
      <button type="button" class="event-main" onClick={open}>
        <EventIcon kind={kind} />
        <span class="event-text">
          <span class="event-what">
            <Sentence event={head} />
          </span>
          <span class="event-when">
            <When event={head} />
          </span>
          {notes.map((note, i) => (
            <span key={note} class={`chip chip-small${i === 0 && head.status !== 'live' ? ' chip-warn' : ''}`}>
              {note}
            </span>
          ))}
        </span>
        <time class="row-age" dateTime={head.fix_time} title={timeOfDay(happenedMs(head), nowMs.value)}>
          {age(nowMs.value - happenedMs(head))}
        </time>
      </button>
      <Before thread={thread} />
      {head.geofence && (
        <button type="button" class="event-why" aria-label={`Why? ${head.asset.name} ${tell(head).verb} ${placeName(head)}`} onClick={() => act().why(head)}>
          Why?
        </button>
      )}
    </li>
  );
}

export function Feed() {
  if (!feed.value.length) {
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
          {told.value.map((thread) => (
            <Item key={thread.head.id} thread={thread} />
          ))}
        </ol>
      </div>
    </div>
  );
}
