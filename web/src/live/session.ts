// What the page asks of /v1/live: one view, one followed asset, one feed, and names. It feeds the store and the crowd and
// reports what came.

import { type Frame, withName } from './codec';
import type { Crowd } from './crowd';
import { type Bbox, type ClientMessage, type FeedEvent, known, type ServerMessage } from './messages';
import { Names } from './names';
import { type Connection, LiveSocket, type Surroundings } from './socket';
import type { Store } from './store';

const VIEW = 1;
const EVENTS = 2;
const FOLLOW = 3;
const MAX_HZ = 2;
/** After this silence the view is asked for again; a living server answers with a snapshot. */
const QUIET_MS = 30_000;
const ANSWER_MS = 8_000;

export interface Listener {
  connection(connection: Connection): void;
  /** Positions changed. */
  changed(): void;
  event(event: FeedEvent): void;
  /** A snapshot of the view was applied. */
  ready(): void;
  /** A connection opened. `gap`: no event was ever seen, so the feed goes on from now and not from a known place. */
  opened(gap: boolean): void;
}

export class Session {
  readonly #store: Store;
  readonly #crowd: Crowd;
  readonly #names = new Names((assets) => this.#socket.ask({ type: 'names', assets }));
  readonly #socket: LiveSocket;
  readonly #around: Surroundings;
  readonly #listener: Listener;
  #view: { bbox: Bbox; zoom: number } | null = null;
  #following: string | null = null;
  #after: string | null = null;
  #heardMs = 0;
  #stopAlarm: (() => void) | null = null;

  constructor(store: Store, crowd: Crowd, around: Surroundings, after: string | null, listener: Listener) {
    this.#store = store;
    this.#crowd = crowd;
    this.#around = around;
    this.#listener = listener;
    this.#socket = new LiveSocket(around, {
      message: (message) => this.#received(message),
      frame: (frame) => this.#shown(frame),
      state: (connection) => listener.connection(connection),
      opened: () => {
        this.#names.doubt();
        listener.opened(this.#after === null);
      },
    });
    this.#after = after;
    this.#socket.remember(this.#events());
  }

  #events(): ClientMessage {
    return { type: 'events', id: EVENTS, ...(this.#after === null ? {} : { after: this.#after }) };
  }

  /** Everything up to here was read: where a reconnect goes on. */
  readTo(event: string): void {
    this.#after = event;
    this.#socket.remember(this.#events());
  }

  start(): void {
    this.#heardMs = this.#around.now();
    this.#socket.start();
    this.#watch();
  }

  hurry(): void {
    this.#socket.hurry();
  }

  look(bbox: Bbox, zoom: number): void {
    this.#view = { bbox, zoom };
    this.#socket.set({ type: 'view', id: VIEW, bbox, zoom, max_hz: MAX_HZ });
  }

  follow(id: string | null): void {
    if (id === this.#following) return;
    this.#following = id;
    this.#store.forget(FOLLOW, id ?? undefined);
    if (id === null) this.#socket.drop(FOLLOW);
    else this.#socket.set({ type: 'follow', id: FOLLOW, assets: [id] });
  }

  /** The page was asleep or the network changed: is the connection still there? */
  check(): void {
    if (!this.#view) return;
    const asked = this.#around.now();
    this.look(this.#view.bbox, this.#view.zoom);
    this.#around.after(ANSWER_MS, () => {
      if (this.#heardMs < asked) this.#socket.renew();
    });
  }

  /** A connection can die without a word, and a browser shows no pings: long silence is probed. */
  #watch(): void {
    this.#stopAlarm?.();
    this.#stopAlarm = this.#around.after(QUIET_MS, () => {
      if (this.#around.now() - this.#heardMs >= QUIET_MS) this.check();
      this.#watch();
    });
  }

  #received(message: ServerMessage): void {
    const now = this.#around.now();
    this.#heardMs = now;
    switch (message.type) {
      case 'snapshot':
        if (!this.#current(message.id)) return;
        this.#store.snapshot(message.id, message.assets.map(known), now);
        this.#listener.changed();
        return;
      case 'update':
        if (!this.#current(message.id)) return;
        this.#store.update(message.id, (message.assets ?? []).map(known), message.remove ?? [], now);
        this.#listener.changed();
        return;
      case 'names':
        this.#names.take(message.assets);
        this.#store.name(message.assets);
        this.#listener.changed();
        return;
      case 'event':
        this.readTo(message.event.id);
        this.#listener.event(message.event);
        return;
      case 'error':
        console.warn(`live: ${message.code}: ${message.message}`);
    }
  }

  /** The view. */
  #shown({ type, assets, remove, clusters }: Frame): void {
    const now = this.#around.now();
    this.#heardMs = now;
    this.#names.shown(assets);
    const entries = assets.map((told) => {
      const named = this.#names.get(told.id);
      return withName(told, named?.name ?? '', named?.tags ?? []);
    });
    if (type === 'snapshot') {
      this.#crowd.snapshot(clusters);
      this.#store.snapshot(VIEW, entries, now);
    } else {
      this.#crowd.update(clusters ?? []);
      this.#store.update(VIEW, entries, remove, now);
    }
    this.#listener.changed();
    if (type === 'snapshot') this.#listener.ready();
  }

  /** What was in flight when a subscription ended concerns nobody any more. */
  #current(id: number): boolean {
    return id === FOLLOW && this.#following !== null;
  }
}
