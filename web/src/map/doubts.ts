// The fixes of the selected asset that are not believed: hollow points beside its way, with the reasons when one points at them.

import type { Feature } from 'geojson';
import type { GeoJSONSource, Map as MapLibre, PointLike } from 'maplibre-gl';
import { timeOfDay } from '../lib/units';
import type { Tip } from './tip';
import { TRAIL_MS, type Doubted } from './trail';

const REACH_PX = 5;

/** Why a fix is not believed, in words: "jump, poor accuracy". */
export const reasons = (flags: readonly string[]): string => flags.map((flag) => flag.replaceAll('_', ' ')).join(', ');

function featureOf({ lon, lat, timeMs, flags }: Doubted): Feature {
  return { type: 'Feature', geometry: { type: 'Point', coordinates: [lon, lat] }, properties: { timeMs, reasons: reasons(flags) } };
}

export class Doubts {
  readonly #map: MapLibre;
  readonly #tip: Tip;
  readonly #serverNow: () => number;
  #shown: readonly Doubted[] = [];
  #styled = false;

  constructor(map: MapLibre, tip: Tip, serverNow: () => number) {
    this.#map = map;
    this.#tip = tip;
    this.#serverNow = serverNow;
    map.once('style.load', () => {
      this.#styled = true;
      this.#draw();
    });
  }

  clear(): void {
    this.#show([]);
  }

  /** Older ones stay until their stretch of the way is no longer shown. */
  add(more: readonly Doubted[]): void {
    const oldest = this.#serverNow() - TRAIL_MS;
    const known = new Map([...this.#shown, ...more].map((fix) => [`${fix.timeMs} ${fix.lon} ${fix.lat}`, fix]));
    this.#show([...known.values()].filter((fix) => fix.timeMs >= oldest));
  }

  #show(doubted: readonly Doubted[]): void {
    const same = doubted.length === this.#shown.length && doubted.every((fix, i) => fix.timeMs === this.#shown[i]?.timeMs);
    this.#shown = doubted;
    if (same) return;
    this.#tip.hide();
    this.#draw();
  }

  #draw(): void {
    if (!this.#styled) return;
    this.#map.getSource<GeoJSONSource>('doubts')?.setData({ type: 'FeatureCollection', features: this.#shown.map(featureOf) });
  }

  /** Says why, if there is one here. */
  point(x: number, y: number): boolean {
    const found = this.#at(x, y);
    if (!found) return false;
    const { timeMs, reasons: why } = found.properties as { timeMs: number; reasons: string };
    this.#tip.show(x, y, `Not believed: ${why} · ${timeOfDay(timeMs, this.#serverNow())}`);
    return true;
  }

  #at(x: number, y: number): Feature | undefined {
    if (!this.#styled || !this.#shown.length) return undefined;
    const box: [PointLike, PointLike] = [[x - REACH_PX, y - REACH_PX], [x + REACH_PX, y + REACH_PX]];
    return this.#map.queryRenderedFeatures(box, { layers: ['doubt'] })[0];
  }
}
