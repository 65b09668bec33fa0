// When the overlay draws: at once after a change, then only as often as something has moved half a pixel, and not at all
// when nothing moves.

import { at } from '../live/interp';
import type { Asset } from '../live/store';
import { type Camera, project } from './camera';

const MOVED_PX = 0.5;
const FRAME_MS = 16;
const EDGE_PX = 20;

export class Pace {
  readonly #draw: () => void;
  #frame = 0;
  #timer = 0;
  #drawnMs = 0;
  /** Something changed that no frame has shown yet. */
  #due = false;
  /** When the last of all motions ends, and how fast the fastest is on screen. */
  #busyUntilMs = 0;
  #pxPerMs = 0;

  constructor(draw: () => void) {
    this.#draw = draw;
  }

  wake(camera: Camera, assets: readonly Asset[]): void {
    this.#due = true;
    this.#measure(camera, assets, performance.now());
    this.#schedule(0);
  }

  /** A frame was drawn, here or with the map. */
  drawn(nowMs: number): void {
    this.#drawnMs = nowMs;
    this.#due = false;
  }

  #measure(camera: Camera, assets: readonly Asset[], nowMs: number): void {
    this.#busyUntilMs = 0;
    this.#pxPerMs = 0;
    for (const { leg } of assets) {
      if (leg.t1 <= nowMs || !onScreen(camera, project(camera, at(leg, nowMs)))) continue;
      const px = Math.hypot(leg.x1 - leg.x0, leg.y1 - leg.y0) * camera.scale;
      this.#busyUntilMs = Math.max(this.#busyUntilMs, leg.t1);
      this.#pxPerMs = Math.max(this.#pxPerMs, px / (leg.t1 - leg.t0));
    }
  }

  #schedule(delayMs: number): void {
    if (this.#frame) return;
    clearTimeout(this.#timer);
    if (delayMs > FRAME_MS) {
      this.#timer = window.setTimeout(() => this.#schedule(0), delayMs - FRAME_MS);
      return;
    }
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      // While the map moves it draws in this very frame, and the overlay with it: once is enough.
      if (this.#due || performance.now() - this.#drawnMs > FRAME_MS / 2) this.#draw();
      this.#again(performance.now());
    });
  }

  #again(nowMs: number): void {
    // One frame more than the motion lasts: the end is where the asset is.
    if (nowMs >= this.#busyUntilMs + FRAME_MS) return;
    const untilVisible = this.#pxPerMs > 0 ? MOVED_PX / this.#pxPerMs : 1_000;
    this.#schedule(Math.min(Math.max(untilVisible, FRAME_MS), Math.max(FRAME_MS, this.#busyUntilMs - nowMs)));
  }
}

function onScreen({ width, height }: Camera, [x, y]: [number, number]): boolean {
  return x > -EDGE_PX && y > -EDGE_PX && x < width + EDGE_PX && y < height + EDGE_PX;
}
