// The fixes of the selected asset that are not believed: hollow points beside its way, with the reasons when one points at them.

import type { Feature } from 'geojson';
import type { GeoJSONSource, Map as MapLibre, PointLike } from 'maplibre-gl';
import { timeOfDay } from '../lib/units';
import { TRAIL_MS, type Doubted } from './trail';

const REACH_PX = 5;

/** Why a fix is not believed, in words: "jump, poor accuracy". */
export const reasons = (flags: readonly string[]): string => flags.map((flag) => flag.replaceAll('_', ' ')).join(', ');

function featureOf({ lon, lat, timeMs, flags }: Doubted): Feature {
  return { type: 'Feature', geometry: { type: 'Point', coordinates: [lon, lat] }, properties: { timeMs, reasons: reasons(flags) } };
}

export class Doubts {
  readonly tip = document.createElement('div');
  readonly #map: MapLibre;
  readonly #serverNow: () => number;
  #shown: readonly Doubted[] = [];
  #styled = false;

  constructor(map: MapLibre, serverNow: () => number) {
    this.#map = map;
    this.#serverNow = serverNow;
    this.tip.className = 'tip';
    this.tip.setAttribute('role', 'tooltip');
    this.tip.hidden = true;
    map.once('style.load', () => {
      this.#styled = true;
      this.#draw();
    });
    map.on('movestart', () => this.#hide());
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
    this.#hide();
    this.#draw();
  }

  #draw(): void {
    if (!this.#styled) return;
    this.#map.getSource<GeoJSONSource>('doubts')?.setData({ type: 'FeatureCollection', features: this.#shown.map(featureOf) });
  }

  /** Says why, if there is one here. */
  point(x: number, y: number): boolean {
    const found = this.#at(x, y);
    if (!found) {
      this.#hide();
      return false;
    }
    const { timeMs, reasons: why } = found.properties as { timeMs: number; reasons: string };
    this.tip.textContent = `Not believed: ${why} · ${timeOfDay(timeMs, this.#serverNow())}`;
    this.tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px) translate(-50%, calc(-100% - 12px))`;
    this.tip.hidden = false;
    return true;
  }

  #at(x: number, y: number): Feature | undefined {
    if (!this.#styled || !this.#shown.length) return undefined;
    const box: [PointLike, PointLike] = [[x - REACH_PX, y - REACH_PX], [x + REACH_PX, y + REACH_PX]];
    return this.#map.queryRenderedFeatures(box, { layers: ['doubt'] })[0];
  }

  #hide(): void {
    this.tip.hidden = true;
  }
}
