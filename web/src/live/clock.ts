// How far the server's clock is from this machine's. An age shown to people must not depend on a wrong clock here.
//
// Every HTTP answer carries a Date of whole seconds: the true offset lies in an interval about a second wide. Answers
// fall into different parts of their second, so the intervals' intersection soon narrows to the network's delay.

export class Clock {
  #low = Number.NEGATIVE_INFINITY;
  #high = Number.POSITIVE_INFINITY;

  /** Milliseconds to add to this machine's time to get the server's. Zero until something was observed. */
  get offsetMs(): number {
    return Number.isFinite(this.#low) ? (this.#low + this.#high) / 2 : 0;
  }

  observe(sentMs: number, receivedMs: number, dateHeader: string | null): void {
    const second = dateHeader ? Date.parse(dateHeader) : Number.NaN;
    if (Number.isNaN(second)) return;
    const low = second - receivedMs;
    const high = second + 1_000 - sentMs;
    // No overlap: one of the clocks was set meanwhile, and only the newest answer is worth anything.
    const apart = low > this.#high || high < this.#low;
    this.#low = apart ? low : Math.max(this.#low, low);
    this.#high = apart ? high : Math.min(this.#high, high);
  }

  now(localMs: number = Date.now()): number {
    return localMs + this.offsetMs;
  }
}
