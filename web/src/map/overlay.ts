// The canvas above the map that draws everything that moves: markers, the trail, accuracy.
//
// Positions go to the GPU when they change; between two updates a frame costs a few uniforms. Frames are drawn with the
// map, so that nothing swims while panning, and by their own pace when the map rests.

import type { Map as MapLibre } from 'maplibre-gl';
import { at } from '../live/interp';
import { type Asset, type State, type Store, stateOf } from '../live/store';
import { metresPerUnit, type Point } from '../lib/mercator';
import { type Camera, cameraOf, copies, project } from './camera';
import { layout, link, type Program, Rows } from './gl';
import { Pace } from './pace';
import { paletteIndex, THEMES } from './palette';
import { CAPSULE_FRAGMENT, CAPSULE_VERTEX, MARKER_FRAGMENT, MARKER_VERTEX } from './shaders';
import type { Theme } from './style';
import type { Trail } from './trail';

const STATES = { still: 0, moving: 1, stale: 2 } as const;
/** Times on the GPU are 32-bit seconds; counting anew each half hour keeps them finer than a millisecond. */
const EPOCH_MS = 1_800_000;

export interface Emphasis {
  selected: string | null;
  hovered: string | null;
}

/** Others who draw with each frame: before the markers they may hide some, after it they move along. */
export interface Companion {
  readonly hidden: ReadonlySet<string>;
  choose(camera: Camera, nowMs: number): boolean;
  place(camera: Camera, nowMs: number): void;
}

export class Overlay {
  readonly canvas = document.createElement('canvas');
  readonly #gl: WebGL2RenderingContext;
  readonly #map: MapLibre;
  readonly #store: Store;
  readonly #trail: Trail;
  readonly #companion: Companion;
  readonly #serverNow: () => number;
  #markers!: Program;
  #capsules!: Program;
  #rows!: Rows;
  #segments!: Rows;
  #corners: WebGLBuffer | null = null;
  #segmentCount = 0;
  /** The state that each slot was last drawn with. */
  readonly #shown: State[] = [];
  #theme: Theme = 'light';
  #emphasis: Emphasis = { selected: null, hovered: null };
  #epochMs = performance.now();
  readonly #pace = new Pace(() => this.draw());

  constructor(map: MapLibre, store: Store, trail: Trail, companion: Companion, serverNow: () => number) {
    this.#map = map;
    this.#store = store;
    this.#trail = trail;
    this.#serverNow = serverNow;
    this.#companion = companion;
    this.canvas.className = 'overlay';
    this.canvas.setAttribute('aria-hidden', 'true');
    const gl = this.canvas.getContext('webgl2', { alpha: true, premultipliedAlpha: true, antialias: false });
    if (!gl) throw new Error('This browser has no WebGL2, which the map needs.');
    this.#gl = gl;
    this.#prepare();
    this.canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
    this.canvas.addEventListener('webglcontextrestored', () => {
      this.#prepare();
      this.#newEpoch(performance.now());
      this.trailChanged();
    });
    map.on('render', () => this.draw());
    map.on('moveend', () => this.wake());
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    this.wake();
  }

  emphasise(emphasis: Emphasis): void {
    const touched = [this.#emphasis.selected, this.#emphasis.hovered, emphasis.selected, emphasis.hovered];
    this.#emphasis = emphasis;
    for (const id of touched) {
      const asset = id === null ? undefined : this.#store.get(id);
      if (asset) this.#store.dirty.add(asset.slot);
    }
    this.wake();
  }

  trailChanged(): void {
    let row = 0;
    for (const { from, to, alphaFrom, alphaTo } of this.#trail.segments()) {
      this.#segments.write(row, [...pair(from), ...pair(to), alphaFrom, alphaTo, 2.25, 0]);
      row += 1;
    }
    this.#segmentCount = row;
    this.wake();
  }

  /** Markers whose state has changed by the mere passing of time are drawn anew; when none has, nothing is. */
  aged(): void {
    const serverNow = this.#serverNow();
    const old = this.#store.all().filter((asset) => this.#shown[asset.slot] !== stateOf(asset, serverNow));
    for (const asset of old) this.#store.dirty.add(asset.slot);
    if (old.length) this.wake();
  }

  /** Something changed: draw soon, and find out for how long there is something to draw. */
  wake(): void {
    this.#pace.wake(cameraOf(this.#map), this.#store.all());
  }

  #prepare(): void {
    const gl = this.#gl;
    this.#markers = link(gl, MARKER_VERTEX, MARKER_FRAGMENT);
    this.#capsules = link(gl, CAPSULE_VERTEX, CAPSULE_FRAGMENT);
    this.#rows = new Rows(gl, 16);
    this.#segments = new Rows(gl, 12);
    this.#corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enable(gl.BLEND);
  }

  draw(): void {
    const gl = this.#gl;
    if (gl.isContextLost()) return;
    const now = performance.now();
    const camera = cameraOf(this.#map);
    this.#pace.drawn(now);
    const dpr = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(camera.width * dpr);
    const height = Math.round(camera.height * dpr);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (now - this.#epochMs > EPOCH_MS) this.#newEpoch(now);
    const hidden = this.#companion.hidden;
    if (this.#companion.choose(camera, now)) this.#dirtyOf(hidden, this.#companion.hidden);
    this.#writeDirty();
    this.#drawCapsules(camera, dpr, now);
    this.#drawMarkers(camera, dpr, now);
    this.#companion.place(camera, now);
  }

  #dirtyOf(...sets: ReadonlySet<string>[]): void {
    for (const ids of sets) {
      for (const id of ids) {
        const asset = this.#store.get(id);
        if (asset) this.#store.dirty.add(asset.slot);
      }
    }
  }

  #newEpoch(now: number): void {
    this.#epochMs = now;
    for (let slot = 0; slot < this.#store.size; slot += 1) this.#store.dirty.add(slot);
  }

  #writeDirty(): void {
    const serverNow = this.#serverNow();
    for (const slot of this.#store.dirty) {
      const asset = this.#store.slot(slot);
      if (asset) this.#rows.write(slot, this.#row(asset, serverNow));
    }
    this.#store.dirty.clear();
    this.#rows.flush();
  }

  #row(asset: Asset, serverNow: number): number[] {
    const { leg, entry } = asset;
    const { selected, hovered } = this.#emphasis;
    const emphasis = entry.id === selected ? 1 : entry.id === hovered ? 0.5 : 0;
    const state = stateOf(asset, serverNow);
    this.#shown[asset.slot] = state;
    const seconds = (ms: number) => (ms - this.#epochMs) / 1000;
    return [
      ...pair({ x: leg.x0, y: leg.y0 }),
      ...pair({ x: leg.x1, y: leg.y1 }),
      seconds(leg.t0),
      seconds(leg.t1),
      asset.courseFromDeg ?? asset.courseDeg ?? 0,
      asset.courseDeg ?? 0,
      STATES[state],
      paletteIndex(entry.tags),
      emphasis,
      this.#companion.hidden.has(entry.id) ? 1 : 0,
    ];
  }

  #useCamera(program: Program, camera: Camera, dpr: number): void {
    const gl = this.#gl;
    gl.useProgram(program.program);
    gl.uniform4fv(program.uniform('u_center'), pair(camera.center));
    gl.uniform1f(program.uniform('u_scale'), camera.scale * dpr);
    gl.uniform2f(program.uniform('u_turn'), camera.cos, camera.sin);
    gl.uniform2f(program.uniform('u_origin'), camera.originX * dpr, camera.originY * dpr);
    gl.uniform2f(program.uniform('u_size'), this.canvas.width, this.canvas.height);
    gl.uniform1f(program.uniform('u_dpr'), dpr);
  }

  #drawCapsules(camera: Camera, dpr: number, now: number): void {
    const gl = this.#gl;
    const count = this.#segmentCount + this.#writeMoving(camera, now);
    if (!count) return;
    this.#segments.flush();
    this.#useCamera(this.#capsules, camera, dpr);
    gl.uniform3fv(this.#capsules.uniform('u_color'), THEMES[this.#theme].trail);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#segments.buffer);
    layout(gl, this.#capsules, ['a_from', 'a_to', 'a_ink'], true);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    const corner = this.#capsules.attribute('a_corner');
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 8, 0);
    gl.vertexAttribDivisor(corner, 0);
    // The strongest wins where segments overlap: joints of a see-through line stay even.
    gl.blendEquation(gl.MAX);
    for (const world of copies(camera)) {
      gl.uniform1f(this.#capsules.uniform('u_world'), world);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    }
    gl.blendEquation(gl.FUNC_ADD);
  }

  /** What changes from frame to frame: the newest stretch, and the accuracy of the selected asset. */
  #writeMoving(camera: Camera, now: number): number {
    let row = this.#segmentCount;
    const put = (from: Point, to: Point, ink: number[]) => this.#segments.write(row++, [...pair(from), ...pair(to), ...ink]);
    const { selected } = this.#emphasis;
    const asset = selected === null ? undefined : this.#store.get(selected);
    if (asset) {
      const here = at(asset.leg, now);
      const radius = accuracyPx(asset, here, camera);
      if (radius > 14) put(here, here, [0.12, 0.12, radius, 1.2]);
      else put(here, here, [0.22, 0.22, 22, 0]);
      if (this.#trail.joint) put(this.#trail.joint, here, [0.9, 0.9, 2.25, 0]);
    }
    return row - this.#segmentCount;
  }

  #drawMarkers(camera: Camera, dpr: number, now: number): void {
    const gl = this.#gl;
    if (!this.#store.size) return;
    const program = this.#markers;
    const theme = THEMES[this.#theme];
    this.#useCamera(program, camera, dpr);
    gl.uniform1f(program.uniform('u_now'), (now - this.#epochMs) / 1000);
    gl.uniform1f(program.uniform('u_bearing'), this.#map.getBearing());
    gl.uniform3fv(program.uniform('u_palette'), theme.palette);
    gl.uniform3fv(program.uniform('u_rim'), theme.rim);
    gl.uniform3fv(program.uniform('u_stale'), theme.stale);
    gl.uniform1f(program.uniform('u_shadow'), theme.shadow);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#rows.buffer);
    layout(gl, program, ['a_from', 'a_to', 'a_time', 'a_look'], false);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const top = this.#emphasis.selected === null ? undefined : this.#store.get(this.#emphasis.selected);
    for (const world of copies(camera)) {
      gl.uniform1f(program.uniform('u_world'), world);
      gl.drawArrays(gl.POINTS, 0, this.#store.size);
      if (top) gl.drawArrays(gl.POINTS, top.slot, 1);
    }
  }

  /** The asset under a point of the screen, the nearest if several are. */
  pick(x: number, y: number, reachPx: number): Asset | null {
    const camera = cameraOf(this.#map);
    const now = performance.now();
    let best: Asset | null = null;
    let nearest = reachPx;
    for (const asset of this.#store.all()) {
      if (this.#companion.hidden.has(asset.entry.id)) continue;
      const [px, py] = project(camera, at(asset.leg, now));
      const distance = Math.hypot(px - x, py - y);
      if (distance < nearest) {
        nearest = distance;
        best = asset;
      }
    }
    return best;
  }
}

/** A number as two 32-bit floats: itself rounded, and the rest. */
function pair({ x, y }: Point): [number, number, number, number] {
  const hx = Math.fround(x);
  const hy = Math.fround(y);
  return [hx, x - hx, hy, y - hy];
}

function accuracyPx(asset: Asset, here: Point, camera: Camera): number {
  const { accuracy_m } = asset.entry;
  return accuracy_m == null ? 0 : Math.min(2_000, (accuracy_m / metresPerUnit(here.y)) * camera.scale);
}
