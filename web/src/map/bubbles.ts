// Bubbles: several assets in one place, with their number. Two kinds: groups of assets that would hide one another, found
// here, and clusters, which the server counts where there are very many.

import { at } from '../live/interp';
import { brief, cellOf, type Crowd, type Placed } from '../live/crowd';
import type { Bbox } from '../live/messages';
import type { Store } from '../live/store';
import { type Point, toLonLat } from '../lib/mercator';
import { type Camera, project } from './camera';
import { GROUPED_BELOW_SCALE, type Group, groups } from './groups';

const REACH_PX = 20;
const EDGE_PX = 40;

interface Bubble {
  element: HTMLElement;
  point: Point;
  /** Where to look at what it stands for. */
  box: () => Bbox;
}

export class Bubbles {
  readonly #parent: HTMLElement;
  readonly #store: Store;
  readonly #crowd: Crowd;
  readonly #shown = new Map<string, Bubble>();
  /** Assets that a bubble stands for; their own markers are not drawn. */
  hidden: ReadonlySet<string> = new Set();

  constructor(parent: HTMLElement, store: Store, crowd: Crowd) {
    this.#parent = parent;
    this.#store = store;
    this.#crowd = crowd;
  }

  /** The place that a bubble under this point of the screen stands for. */
  at(camera: Camera, x: number, y: number): Bbox | null {
    let best: Bubble | null = null;
    let nearest = REACH_PX;
    for (const bubble of this.#shown.values()) {
      const [bx, by] = project(camera, bubble.point);
      const distance = Math.hypot(bx - x, by - y);
      if (distance > nearest) continue;
      nearest = distance;
      best = bubble;
    }
    return best && best.box();
  }

  /** Decides what is shown; tells whether other markers are hidden than before. */
  choose(camera: Camera, nowMs: number, selected: string | null): boolean {
    const found = this.#grouped(camera, nowMs, selected);
    const kept = new Set<string>();
    for (const group of found) kept.add(this.#put(`group ${group.id}`, middle(group), group.members.length, () => boxOf(group)));
    for (const cluster of this.#crowd.all()) {
      if (onScreen(camera, cluster)) kept.add(this.#put(cluster.id, cluster.point, cluster.count, () => cellOf(cluster.id)));
    }
    for (const [id, { element }] of this.#shown) {
      if (kept.has(id)) continue;
      element.remove();
      this.#shown.delete(id);
    }
    const hidden = new Set(found.flatMap((group) => group.members));
    const same = hidden.size === this.hidden.size && [...hidden].every((id) => this.hidden.has(id));
    if (!same) this.hidden = hidden;
    return !same;
  }

  #grouped(camera: Camera, nowMs: number, selected: string | null): Group[] {
    if (camera.scale >= GROUPED_BELOW_SCALE || !this.#store.size) return [];
    const assets = this.#store.all().filter(({ entry }) => entry.id !== selected);
    const byId = assets.map((asset) => ({ id: asset.entry.id, point: at(asset.leg, nowMs) })).sort((a, b) => (a.id < b.id ? -1 : 1));
    return groups(camera, byId);
  }

  #put(id: string, point: Point, count: number, box: () => Bbox): string {
    const element = this.#shown.get(id)?.element ?? document.createElement('span');
    this.#shown.set(id, { element, point, box });
    const text = brief(count);
    if (element.textContent !== text) {
      element.textContent = text;
      element.className = `bubble bubble-${sizeOf(count)}`;
    }
    if (!element.isConnected) this.#parent.append(element);
    return id;
  }

  /** Moves all of them to where they belong in this frame. */
  place(camera: Camera): void {
    for (const { element, point } of this.#shown.values()) {
      const [x, y] = project(camera, point);
      element.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    }
  }
}

/** One size for each power of ten. */
const sizeOf = (count: number): number => Math.min(5, Math.floor(Math.log10(count)));

const middle = ({ west, east, north, south }: Group): Point => ({ x: (west + east) / 2, y: (north + south) / 2 });

function boxOf({ west, north, east, south }: Group): Bbox {
  const [w, n] = toLonLat({ x: west, y: north });
  const [e, s] = toLonLat({ x: east, y: south });
  return [w, s, e, n];
}

function onScreen(camera: Camera, { point }: Placed): boolean {
  const [x, y] = project(camera, point);
  return x > -EDGE_PX && y > -EDGE_PX && x < camera.width + EDGE_PX && y < camera.height + EDGE_PX;
}
