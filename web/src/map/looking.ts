// What part of the world is looked at: asked for with a margin, and anew only when the screen leaves it or comes nearer.

import type { Map as MapLibre } from 'maplibre-gl';
import type { Bbox } from '../live/messages';
import { holds, viewBox } from './map';

const PAD = 0.25;
const QUIET_MS = 150;
const LATEST_MS = 600;
const ZOOM_STEP = 0.75;

export class Looking {
  readonly #map: MapLibre;
  readonly #tell: (bbox: Bbox, zoom: number) => void;
  #asked: { bbox: Bbox; zoom: number } | null = null;
  #timer = 0;
  #dueMs: number | null = null;

  constructor(map: MapLibre, tell: (bbox: Bbox, zoom: number) => void) {
    this.#map = map;
    this.#tell = tell;
  }

  /** The camera moved: when it rests, or at the latest soon, it is told where it looks. */
  moved(): void {
    const now = performance.now();
    this.#dueMs ??= now + LATEST_MS;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.tell(), Math.max(0, Math.min(QUIET_MS, this.#dueMs - now)));
  }

  tell(): void {
    this.#dueMs = null;
    const zoom = Number(this.#map.getZoom().toFixed(2));
    const enough = this.#asked && Math.abs(this.#asked.zoom - zoom) < ZOOM_STEP && holds(this.#asked.bbox, this.seen());
    if (enough) return;
    const bbox = viewBox(this.#map, PAD).map((deg) => Number(deg.toFixed(6))) as Bbox;
    this.#asked = { bbox, zoom };
    this.#tell(bbox, zoom);
  }

  /** What is on the screen now, without the margin that is asked for. */
  seen(): Bbox {
    return viewBox(this.#map, 0);
  }
}
