// Names beside markers: always for the selected and the hovered one, for all when there is room for all.

import { at } from '../live/interp';
import type { Asset, Store } from '../live/store';
import { type Camera, project } from './camera';

const MANY = 48;
const NEAR_ZOOM_SCALE = 512 * 2 ** 13;
const CHOOSE_EVERY_MS = 300;
const OFFSET_PX = 17;
const HEIGHT_PX = 18;

interface Label {
  element: HTMLElement;
  text: string;
  width: number;
}

export class Labels {
  readonly element = document.createElement('div');
  readonly #store: Store;
  readonly #labels = new Map<string, Label>();
  #chosenMs = Number.NEGATIVE_INFINITY;
  #selected: string | null = null;
  #hovered: string | null = null;

  constructor(store: Store) {
    this.#store = store;
    this.element.className = 'labels';
    this.element.setAttribute('aria-hidden', 'true');
  }

  emphasise(selected: string | null, hovered: string | null): void {
    this.#selected = selected;
    this.#hovered = hovered;
    this.#chosenMs = Number.NEGATIVE_INFINITY;
  }

  place(camera: Camera, nowMs: number): void {
    if (nowMs - this.#chosenMs >= CHOOSE_EVERY_MS) {
      this.#chosenMs = nowMs;
      this.#choose(camera, nowMs);
    }
    for (const [id, label] of this.#labels) {
      const asset = this.#store.get(id);
      if (!asset) this.#remove(id);
      else {
        const [x, y] = project(camera, at(asset.leg, nowMs));
        label.element.style.transform = `translate(${(x + OFFSET_PX).toFixed(1)}px, ${(y - HEIGHT_PX / 2).toFixed(1)}px)`;
      }
    }
  }

  #choose(camera: Camera, nowMs: number): void {
    const first = [this.#selected, this.#hovered].filter((id): id is string => id !== null);
    const wanted = new Set(first);
    const shown = this.#store.all().filter((asset) => visible(camera, asset, nowMs));
    const others = camera.scale >= NEAR_ZOOM_SCALE && shown.length <= MANY ? shown : [];
    const taken: [number, number, number][] = [];
    const assets = [...first.map((id) => this.#store.get(id)), ...others];
    for (const asset of assets) {
      if (!asset) continue;
      const [x, y] = project(camera, at(asset.leg, nowMs));
      const width = this.#labels.get(asset.entry.id)?.width ?? asset.entry.name.length * 7 + 12;
      const clear = taken.every(([tx, ty, tw]) => Math.abs(y - ty) > HEIGHT_PX || x + width < tx || tx + tw < x);
      if (!clear && !wanted.has(asset.entry.id)) continue;
      taken.push([x, y, width]);
      wanted.add(asset.entry.id);
    }
    for (const id of [...this.#labels.keys()]) if (!wanted.has(id)) this.#remove(id);
    for (const id of wanted) this.#show(id);
  }

  #show(id: string): void {
    const asset = this.#store.get(id);
    if (!asset) return;
    let label = this.#labels.get(id);
    if (!label) {
      label = { element: document.createElement('span'), text: '', width: 0 };
      this.element.append(label.element);
      this.#labels.set(id, label);
    }
    label.element.className = `label${id === this.#selected ? ' label-selected' : ''}`;
    if (label.text !== asset.entry.name) {
      label.text = asset.entry.name;
      label.element.textContent = asset.entry.name;
      label.width = label.element.offsetWidth;
    }
  }

  #remove(id: string): void {
    this.#labels.get(id)?.element.remove();
    this.#labels.delete(id);
  }
}

function visible(camera: Camera, asset: Asset, nowMs: number): boolean {
  const [x, y] = project(camera, at(asset.leg, nowMs));
  return x > 0 && y > 0 && x < camera.width && y < camera.height;
}
