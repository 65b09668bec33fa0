import { describe, expect, test } from 'vitest';
import { type Connection, LiveSocket, type Surroundings, type Wire, waitMs } from '../src/live/socket';

class Line implements Wire {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((close: { code: number }) => void) | null = null;
  readonly sent: unknown[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.closed = true;
  }
}

/** A network and a clock in the test's hand. */
class Bench implements Surroundings {
  nowMs = 0;
  chance = 0.5;
  session = true;
  readonly lines: Line[] = [];
  readonly states: Connection[] = [];
  readonly heard: unknown[] = [];
  #tasks: { dueMs: number; task: () => void }[] = [];
  readonly socket = new LiveSocket(this, {
    message: (message) => this.heard.push(message),
    frame: (frame) => this.heard.push(frame),
    state: (state) => this.states.push(state),
    opened: () => undefined,
  });

  get line(): Line {
    const line = this.lines.at(-1);
    if (!line) throw new Error('nothing was connected');
    return line;
  }

  connect(): Wire {
    const line = new Line();
    this.lines.push(line);
    return line;
  }

  random = () => this.chance;
  now = () => this.nowMs;
  signedIn = async () => this.session;

  after(ms: number, task: () => void): () => void {
    const entry = { dueMs: this.nowMs + ms, task };
    this.#tasks.push(entry);
    return () => {
      this.#tasks = this.#tasks.filter((other) => other !== entry);
    };
  }

  pass(ms: number): void {
    const until = this.nowMs + ms;
    for (;;) {
      const [next] = this.#tasks.filter(({ dueMs }) => dueMs <= until).sort((a, b) => a.dueMs - b.dueMs);
      if (!next) break;
      this.nowMs = next.dueMs;
      this.#tasks = this.#tasks.filter((entry) => entry !== next);
      next.task();
    }
    this.nowMs = until;
  }

  live(): void {
    this.socket.start();
    this.line.onopen?.();
    this.pass(6_000);
  }
}

const VIEW = { type: 'view', id: 1, bbox: [0, 0, 1, 1] as [number, number, number, number], zoom: 3, max_hz: 2 } as const;

describe('subscriptions', () => {
  test('are sent when the connection opens, and again after each reconnect', () => {
    const bench = new Bench();
    bench.socket.set(VIEW);
    bench.live();
    expect(bench.line.sent).toEqual([VIEW]);
    bench.line.onclose?.({ code: 1006 });
    bench.pass(2_000);
    bench.line.onopen?.();
    expect(bench.lines).toHaveLength(2);
    expect(bench.line.sent).toEqual([VIEW]);
  });

  test('go on from what was read last, without asking now', () => {
    const bench = new Bench();
    bench.socket.set({ type: 'events', id: 2, after: 'evt_1' });
    bench.live();
    bench.socket.remember({ type: 'events', id: 2, after: 'evt_9' });
    expect(bench.line.sent).toHaveLength(1);
    bench.line.onclose?.({ code: 1001 });
    bench.pass(2_000);
    bench.line.onopen?.();
    expect(bench.line.sent).toEqual([{ type: 'events', id: 2, after: 'evt_9' }]);
  });

  test('that were dropped are closed and do not come back', () => {
    const bench = new Bench();
    bench.live();
    bench.socket.set({ type: 'follow', id: 3, assets: ['a'] });
    bench.socket.drop(3);
    expect(bench.line.sent.at(-1)).toEqual({ type: 'close', id: 3 });
    bench.line.onclose?.({ code: 1006 });
    bench.pass(2_000);
    bench.line.onopen?.();
    expect(bench.line.sent).toEqual([]);
  });
});

describe('after a loss', () => {
  test('a steady connection is tried again within a quarter of a second', () => {
    const bench = new Bench();
    bench.live();
    bench.chance = 0.999;
    bench.line.onclose?.({ code: 1006 });
    bench.pass(250);
    expect(bench.lines).toHaveLength(2);
  });

  test('waits are spread over their whole range and stay under two seconds for the first tries', () => {
    expect(waitMs(3, 0)).toBe(0);
    for (let attempt = 0; attempt < 12; attempt += 1) expect(waitMs(attempt, 1)).toBeLessThanOrEqual(2_000);
    expect(waitMs(20, 1)).toBe(15_000);
  });

  test('a blink is not announced', () => {
    const bench = new Bench();
    bench.live();
    bench.line.onclose?.({ code: 1006 });
    bench.pass(300);
    bench.line.onopen?.();
    bench.pass(10_000);
    expect(bench.states).toEqual(['live']);
  });

  test('a longer one is, first as reconnecting, then as offline', () => {
    const bench = new Bench();
    bench.live();
    bench.line.onclose?.({ code: 1006 });
    bench.pass(1_000);
    expect(bench.states).toEqual(['live', 'reconnecting']);
    for (let i = 0; i < 12; i += 1) {
      bench.line.onclose?.({ code: 1006 });
      bench.pass(1_000);
    }
    expect(bench.states).toEqual(['live', 'reconnecting', 'offline']);
  });

  test('a server that accepts and closes at once is not hammered', () => {
    const bench = new Bench();
    bench.chance = 1;
    bench.socket.start();
    for (let i = 0; i < 6; i += 1) {
      bench.line.onopen?.();
      bench.line.onclose?.({ code: 1013 });
      bench.pass(2_000);
    }
    bench.line.onopen?.();
    bench.line.onclose?.({ code: 1013 });
    const before = bench.lines.length;
    bench.pass(1_900);
    expect(bench.lines).toHaveLength(before);
  });

  test('the network coming back ends the waiting', () => {
    const bench = new Bench();
    bench.live();
    bench.chance = 1;
    for (let i = 0; i < 8; i += 1) {
      bench.line.onclose?.({ code: 1006 });
      if (i < 7) bench.pass(2_000);
    }
    const before = bench.lines.length;
    bench.socket.hurry();
    expect(bench.lines).toHaveLength(before + 1);
  });

  test('a connection attempt that hangs is given up', () => {
    const bench = new Bench();
    bench.socket.start();
    bench.pass(12_000);
    expect(bench.lines[0]?.closed).toBe(true);
    expect(bench.lines.length).toBeGreaterThan(1);
  });

  test('what a discarded connection still says is not heard', () => {
    const bench = new Bench();
    bench.live();
    const old = bench.line;
    bench.socket.renew();
    bench.pass(2_000);
    bench.line.onopen?.();
    expect(old.onmessage).toBeNull();
    expect(old.closed).toBe(true);
  });
});

describe('an ended session', () => {
  test('is said by the close code, and nothing is tried again', () => {
    const bench = new Bench();
    bench.live();
    bench.line.onclose?.({ code: 4401 });
    bench.pass(60_000);
    expect(bench.states).toEqual(['live', 'signed_out']);
    expect(bench.lines).toHaveLength(1);
  });

  test('is found out when connecting keeps failing', async () => {
    const bench = new Bench();
    bench.session = false;
    bench.live();
    for (let i = 0; i < 3; i += 1) {
      bench.line.onclose?.({ code: 1006 });
      bench.pass(2_000);
    }
    await Promise.resolve();
    expect(bench.states.at(-1)).toBe('signed_out');
    const before = bench.lines.length;
    bench.pass(60_000);
    expect(bench.lines).toHaveLength(before);
  });
});
