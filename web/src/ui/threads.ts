// What the feed says, with every correction put in the place of what it corrects. Pure: events in, threads out.

import type { FeedEvent } from '../live/messages';

/** The newest word on something that happened, and what was said of it before, newest first. */
export interface Thread {
  head: FeedEvent;
  past: FeedEvent[];
}

/**
 * In the order in which the server told: a dispatcher looks for what is new since the last look, and a late event or a
 * correction that slipped in among the hours it is about would never be seen. When it happened stands beside it.
 *
 * A correction comes after what it corrects, so going back from the newest finds every owner before its past.
 */
export function threads(newestFirst: readonly FeedEvent[]): Thread[] {
  const found: Thread[] = [];
  const owners = new Map<string, Thread>();
  for (const event of newestFirst) {
    const owner = owners.get(event.id) ?? { head: event, past: [] };
    if (owner.head === event) found.push(owner);
    else owner.past.push(event);
    if (event.revises) owners.set(event.revises, owner);
  }
  return found;
}
