// What stands beside and over markers: names, bubbles (bubbles.ts), and pulses where events happen.
// A pulse is the style sheet's animation: it runs without a frame of ours.
//
// Names: always of the selected and the hovered asset, of all when there is room for all. Both kinds are chosen a few
// times a second and then only moved, frame by frame. A name stands right of its marker, or left of it where a panel, a
// marker or another name is in the way; the selected one's always stands.

import { at } from '../live/interp';
import type { Crowd } from '../live/crowd';
import type { Asset, Store } from '../live/store';
import type { Point } from '../lib/mercator';
import { Bubbles } from './bubbles';
import { type Camera, project } from './camera';

const MANY = 48;
const NEAR_ZOOM_SCALE = 512 * 2 ** 13;
const CHOOSE_EVERY_MS = 300;
const OFFSET_PX = 17;
const HEIGHT_PX = 18;
const MARKER_PX = 7;
const PULSES_AT_ONCE = 12;

interface Label {
  element: HTMLElement;
  text: string;
  width: number;
  left: boolean;
}

/** A part of the screen, in pixels. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Where a name stands, on its old side if that is free; null: neither is. */
export function side(x: number, y: number, width: number, taken: readonly Box[], wasLeft = false): { left: boolean; box: Box } | null {
  for (const left of [wasLeft, !wasLeft]) {
    const from = left ? x - OFFSET_PX - width : x + OFFSET_PX;
    const box = { left: from, top: y - HEIGHT_PX / 2, right: from + width, bottom: y + HEIGHT_PX / 2 };
    if (!taken.some((other) => meet(box, other))) return { left, box };
  }
  return null;
}

const meet = (a: Box, b: Box): boolean => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

export class Labels {
  readonly element = document.createElement('div');
  readonly #store: Store;
  readonly #crowd: Crowd;
  readonly #covered: () => Box[];
  readonly #names = new Map<string, Label>();
  readonly bubbles: Bubbles;
  readonly #pulses = new Map<HTMLElement, Point>();
  #chosenMs = Number.NEGATIVE_INFINITY;
  #chosenScale = 0;
  #chosenCrowd = 0;
  #selected: string | null = null;
  #hovered: string | null = null;
  /** covered: what panels hide of the map. */
  constructor(store: Store, crowd: Crowd, covered: () => Box[]) {
    this.#store = store;
    this.#crowd = crowd;
    this.bubbles = new Bubbles(this.element, store, crowd);
    this.#covered = covered;
    this.element.className = 'labels';
    this.element.setAttribute('aria-hidden', 'true');
  }

  emphasise(selected: string | null, hovered: string | null): void {
    this.#selected = selected;
    this.#hovered = hovered;
    this.#chosenMs = Number.NEGATIVE_INFINITY;
  }

  pulse(point: Point): void {
    if (this.#store.still || document.hidden || this.#pulses.size >= PULSES_AT_ONCE) return;
    const element = document.createElement('span');
    element.className = 'pulse';
    element.append(document.createElement('i'));
    element.addEventListener('animationend', () => {
      element.remove();
      this.#pulses.delete(element);
    });
    this.#pulses.set(element, point);
    this.element.prepend(element);
  }

  /** Moves everything to where it belongs in this frame. */
  place(camera: Camera, nowMs: number): void {
    for (const [id, label] of this.#names) {
      const asset = this.#store.get(id);
      if (!asset) this.#removeName(id);
      else {
        const [x, y] = project(camera, at(asset.leg, nowMs));
        move(label.element, label.left ? x - OFFSET_PX - label.width : x + OFFSET_PX, y - HEIGHT_PX / 2);
      }
    }
    this.bubbles.place(camera);
    for (const [element, point] of this.#pulses) {
      const [x, y] = project(camera, point);
      move(element, x, y);
    }
  }

  /** Decides what is shown; tells whether other markers are hidden than before. */
  choose(camera: Camera, nowMs: number): boolean {
    const zoomed = Math.abs(Math.log2(camera.scale / (this.#chosenScale || 1))) > 0.1;
    const counted = this.#chosenCrowd !== this.#crowd.version;
    if (!zoomed && !counted && nowMs - this.#chosenMs < CHOOSE_EVERY_MS) return false;
    this.#chosenCrowd = this.#crowd.version;
    this.#chosenMs = nowMs;
    this.#chosenScale = camera.scale;
    const changed = this.bubbles.choose(camera, nowMs, this.#selected);
    this.#chooseNames(camera, nowMs);
    return changed;
  }

  #chooseNames(camera: Camera, nowMs: number): void {
    const first = [this.#selected, this.#hovered].filter((id): id is string => id !== null && !this.bubbles.hidden.has(id));
    const shown = camera.scale >= NEAR_ZOOM_SCALE ? this.#store.all().filter((asset) => visible(camera, asset, nowMs)) : [];
    const assets = [...first.map((id) => this.#store.get(id)), ...(shown.length <= MANY ? shown : [])];
    const { width: right, height: bottom } = camera;
    const taken: Box[] = [...this.#covered(), { left: right, top: 0, right: right + 1_000, bottom }, { left: -1_000, top: 0, right: 0, bottom }];
    for (const asset of shown.length <= MANY ? shown : []) taken.push(around(project(camera, at(asset.leg, nowMs))));
    const wanted = new Map<string, boolean>();
    for (const asset of assets) {
      if (!asset?.entry.name || wanted.has(asset.entry.id)) continue;
      const [x, y] = project(camera, at(asset.leg, nowMs));
      const known = this.#names.get(asset.entry.id);
      const found = side(x, y, known?.width || asset.entry.name.length * 7 + 12, taken, known?.left);
      if (!found && !first.includes(asset.entry.id)) continue;
      if (found) taken.push(found.box);
      wanted.set(asset.entry.id, found?.left ?? false);
    }
    for (const id of [...this.#names.keys()]) if (!wanted.has(id)) this.#removeName(id);
    for (const [id, left] of wanted) this.#showName(id, left);
  }

  #showName(id: string, left: boolean): void {
    const asset = this.#store.get(id);
    if (!asset) return;
    let label = this.#names.get(id);
    if (!label) {
      label = { element: document.createElement('span'), text: '', width: 0, left };
      this.element.append(label.element);
      this.#names.set(id, label);
    }
    label.left = left;
    label.element.className = `label${id === this.#selected ? ' label-selected' : ''}`;
    if (label.text !== asset.entry.name) {
      label.text = asset.entry.name;
      label.element.textContent = asset.entry.name;
      label.width = label.element.offsetWidth;
    }
  }

  #removeName(id: string): void {
    this.#names.get(id)?.element.remove();
    this.#names.delete(id);
  }
}

function move(element: HTMLElement, x: number, y: number): void {
  element.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
}

const around = ([x, y]: [number, number]): Box => ({ left: x - MARKER_PX, top: y - MARKER_PX, right: x + MARKER_PX, bottom: y + MARKER_PX });

function visible(camera: Camera, asset: Asset, nowMs: number): boolean {
  const [x, y] = project(camera, at(asset.leg, nowMs));
  return x > 0 && y > 0 && x < camera.width && y < camera.height;
}
