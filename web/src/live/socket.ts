// One live connection that keeps itself: subscriptions survive a reconnect, waiting is fully jittered.
//
// It owns the socket and the subscriptions, not what they bring. A subscription is one message with an id; setting it
// again replaces it, and each is sent anew whenever a connection opens. Nothing else is queued.

import { decode, type Frame, PROTOCOL } from './codec';
import type { ClientMessage, ServerMessage } from './messages';

export type Connection = 'connecting' | 'live' | 'reconnecting' | 'offline' | 'signed_out';

/** The part of WebSocket that is used, so that the logic runs without a browser. */
export interface Wire {
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((close: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Surroundings {
  connect(): Wire;
  random(): number;
  now(): number;
  after(ms: number, task: () => void): () => void;
  /** Is the session still good? Asked when connecting fails: a browser does not tell why a socket was refused. */
  signedIn(): Promise<boolean>;
}

export interface Listener {
  message(message: ServerMessage): void;
  frame(frame: Frame): void;
  state(connection: Connection): void;
  /** A connection opened, the first or a later one, and every subscription was sent. */
  opened(): void;
}

const FIRST_MS = 250;
/** Within these tries a waiting page is back in under two seconds; later it is a real outage, and pressure helps nobody. */
const EAGER_TRIES = 12;
const EAGER_CAP_MS = 2_000;
const PATIENT_CAP_MS = 15_000;
/** A blink shorter than this is not worth a word to the user. */
const BLINK_MS = 800;
const OFFLINE_MS = 10_000;
/** A connection that held this long earns a fresh start of the waiting times. */
const STEADY_MS = 5_000;
const CONNECT_TIMEOUT_MS = 10_000;
const SESSION_CLOSES = new Set([1008, 4401, 4403]);

export function waitMs(attempt: number, random: number): number {
  const cap = attempt < EAGER_TRIES ? EAGER_CAP_MS : PATIENT_CAP_MS;
  return random * Math.min(cap, FIRST_MS * 2 ** Math.min(attempt, 20));
}

export class LiveSocket {
  readonly #subscriptions = new Map<number, ClientMessage>();
  readonly #around: Surroundings;
  readonly #listener: Listener;
  #wire: Wire | null = null;
  #open = false;
  #openedMs = 0;
  #lostMs: number | null = null;
  #attempt = 0;
  #timers = new Map<string, () => void>();
  #state: Connection = 'connecting';

  constructor(around: Surroundings, listener: Listener) {
    this.#around = around;
    this.#listener = listener;
  }

  start(): void {
    if (this.#wire) return;
    this.#cancel('retry');
    const wire = this.#around.connect();
    this.#wire = wire;
    wire.onopen = () => this.#opened(wire);
    wire.onmessage = ({ data }) => this.#received(data);
    wire.onclose = ({ code }) => this.#closed(wire, code);
    this.#timer('connect', CONNECT_TIMEOUT_MS, () => this.#abandon());
  }

  /** The network or the page came back: do not sit out the rest of a wait. */
  hurry(): void {
    if (this.#state === 'signed_out') return;
    this.#attempt = 0;
    this.start();
  }

  /** Drops a connection that is suspected dead and makes a new one. */
  renew(): void {
    this.#abandon();
  }

  set(message: ClientMessage): void {
    this.#subscriptions.set(message.id, message);
    if (this.#open) this.#wire?.send(JSON.stringify(message));
  }

  /** Changes what a reconnect will ask for, without asking now: how far the events were read. */
  remember(message: ClientMessage): void {
    this.#subscriptions.set(message.id, message);
  }

  /** Asks for something that is answered once. Nobody is there to answer: a new connection will be asked anew. */
  ask(question: object): void {
    if (this.#open) this.#wire?.send(JSON.stringify(question));
  }

  drop(id: number): void {
    if (this.#subscriptions.delete(id) && this.#open) this.#wire?.send(JSON.stringify({ type: 'close', id }));
  }

  #opened(wire: Wire): void {
    if (wire !== this.#wire) return;
    this.#open = true;
    this.#openedMs = this.#around.now();
    this.#lostMs = null;
    for (const name of ['connect', 'blink', 'offline']) this.#cancel(name);
    for (const message of this.#subscriptions.values()) wire.send(JSON.stringify(message));
    this.#become('live');
    this.#listener.opened();
  }

  #received(data: unknown): void {
    if (typeof data === 'string') this.#listener.message(JSON.parse(data) as ServerMessage);
    else if (data instanceof ArrayBuffer) this.#listener.frame(decode(data));
  }

  #abandon(): void {
    const wire = this.#wire;
    if (!wire) return;
    wire.onopen = wire.onmessage = wire.onclose = null;
    wire.close();
    this.#closed(wire, 1006);
  }

  #closed(wire: Wire, code: number): void {
    if (wire !== this.#wire) return;
    const held = this.#open ? this.#around.now() - this.#openedMs : 0;
    this.#wire = null;
    this.#open = false;
    this.#cancel('connect');
    if (SESSION_CLOSES.has(code)) return this.#become('signed_out');
    this.#attempt = held > STEADY_MS ? 0 : this.#attempt + 1;
    this.#announceLoss();
    if (this.#attempt >= 2) this.#checkSession();
    const wait = waitMs(this.#attempt, this.#around.random());
    this.#timer('retry', wait, () => this.start());
  }

  #announceLoss(): void {
    if (this.#lostMs !== null) return;
    this.#lostMs = this.#around.now();
    this.#timer('blink', BLINK_MS, () => this.#become('reconnecting'));
    this.#timer('offline', OFFLINE_MS, () => this.#become('offline'));
  }

  #checkSession(): void {
    this.#around.signedIn().then(
      (signedIn) => {
        if (signedIn || this.#open) return;
        for (const name of [...this.#timers.keys()]) this.#cancel(name);
        this.#become('signed_out');
      },
      () => undefined, // no answer at all is no answer about the session either
    );
  }

  #become(state: Connection): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#listener.state(state);
  }

  #timer(name: string, ms: number, task: () => void): void {
    this.#cancel(name);
    this.#timers.set(
      name,
      this.#around.after(ms, () => {
        this.#timers.delete(name);
        task();
      }),
    );
  }

  #cancel(name: string): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
  }
}

/** The real surroundings: the page's own origin and clock. */
export function inBrowser(signedIn: () => Promise<boolean>): Surroundings {
  const url = new URL('/v1/live', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    connect: () => {
      const socket = new WebSocket(url, PROTOCOL);
      socket.binaryType = 'arraybuffer';
      return socket as unknown as Wire;
    },
    random: Math.random,
    now: () => performance.now(),
    after: (ms, task) => {
      const timer = setTimeout(task, ms);
      return () => clearTimeout(timer);
    },
    signedIn,
  };
}
