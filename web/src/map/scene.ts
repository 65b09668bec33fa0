// The map with everything on it, and the camera's manners: choosing, following, flying, telling what is in view.

import type { Feature, Geometry, Position } from 'geojson';
import type { GeoJSONSource, Map as MapLibre, MapMouseEvent } from 'maplibre-gl';
import { fromLonLat, type Point, toLonLat } from '../lib/mercator';
import { at } from '../live/interp';
import type { Bbox } from '../live/messages';
import type { Crowd } from '../live/crowd';
import type { Store } from '../live/store';
import { enclosing } from './bounds';
import { type Camera, cameraOf, project } from './camera';
import { Doubts } from './doubts';
import { draw, extent, lookOf, outline } from './fences';
import { Findings } from './findings';
import { type Box, Labels } from './labels';
import { gridLayer, putMarks } from './marks';
import { Looking } from './looking';
import { inset, makeMap, type Padding, setTheme, spread } from './map';
import { type Companion, Overlay } from './overlay';
import type { Basemap, Theme } from './style';
import { type Doubted, Trail, type TrailFix } from './trail';

const ASK_AGAIN_MS = 5_000;
const CLOSE_ZOOM = 15.5;
const PICK_MOUSE_PX = 16;
const PICK_TOUCH_PX = 26;

export interface Events {
  select(id: string | null): void;
  hover(id: string | null): void;
  fence(id: string | null): void;
  look(bbox: Bbox, zoom: number): void;
  moved(): void;
  followEnded(): void;
}

export interface Options {
  container: HTMLElement;
  basemap: Basemap;
  bounds: Bbox | null;
  theme: Theme;
  padding: Padding;
  still: boolean;
  serverNow: () => number;
  covered: () => Box[];
}

export class Scene {
  readonly map: MapLibre;
  readonly overlay: Overlay;
  readonly findings: Findings;
  readonly #looking: Looking;
  readonly #trail = new Trail();
  readonly #doubts: Doubts;
  readonly #labels: Labels;
  readonly #store: Store;
  readonly #events: Events;
  readonly #options: Options;
  #padding: Padding;
  #theme: Theme;
  #selected: string | null = null;
  #hovered: string | null = null;
  #following = false;
  #styled = false;
  /** Sources with tiles that could not be fetched. */
  readonly #faulty = new Set<string>();
  #again: ReturnType<typeof setTimeout> | undefined;
  #fences: readonly Feature[] = [];
  #drawn = '';
  #chosen = '';

  constructor(store: Store, crowd: Crowd, options: Options, events: Events) {
    this.#store = store;
    this.#options = options;
    this.#events = events;
    this.#padding = options.padding;
    this.#theme = options.theme;
    this.map = makeMap(options.container, options.basemap, options.theme, options.bounds, options.padding);
    this.#looking = new Looking(this.map, (bbox, zoom) => events.look(bbox, zoom));
    this.#doubts = new Doubts(this.map, options.serverNow);
    this.findings = new Findings(this.map);
    this.#labels = new Labels(store, crowd, options.covered);
    this.overlay = new Overlay(this.map, store, this.#trail, this.#companion(), options.serverNow);
    this.overlay.setTheme(options.theme);
    this.map.getCanvasContainer().append(this.overlay.canvas, this.#labels.element, this.#doubts.tip);
    this.#listen();
  }

  #companion(): Companion {
    const labels = this.#labels;
    return {
      get hidden() {
        return labels.bubbles.hidden;
      },
      choose: (camera, now) => labels.choose(camera, now),
      place: (camera, now) => {
        labels.place(camera, now);
        this.#keepUp(camera, now);
      },
    };
  }

  get trail(): Trail {
    return this.#trail;
  }

  #listen(): void {
    const { map } = this;
    map.once('style.load', () => {
      this.#styled = true;
      putMarks(map, this.#theme);
      map.addLayer(gridLayer(), this.#options.basemap.streets.length ? 'extent-0' : 'fence-fill');
      this.showFences(this.#fences);
      this.chooseFence(this.#chosen);
    });
    map.on('move', () => this.#moved());
    map.on('moveend', () => this.#moved());
    map.on('resize', () => this.#moved());
    map.on('dragstart', () => this.#endFollow());
    map.on('mousemove', (event) => this.#hover(event));
    map.on('mouseout', () => this.#events.hover(null));
    map.on('click', (event) => this.#click(event));
    map.on('error', ({ error, ...where }) => {
      if ('sourceId' in where) {
        this.#faulty.add(String(where.sourceId));
        this.#again ??= setTimeout(() => this.reload(), ASK_AGAIN_MS);
      }
      console.warn(`map: ${error.message}`);
    });
  }

  /** Says what is in view before the map has drawn anything: positions need not wait for tiles. */
  begin(): void {
    this.#looking.tell();
  }

  /** The server is there again, or a while has passed: what of the base map could not be fetched is asked for anew. */
  reload(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    for (const source of this.#faulty) this.map.refreshTiles(source);
    this.#faulty.clear();
  }

  #click(event: MapMouseEvent): void {
    const touch = matchMedia('(pointer: coarse)').matches;
    const asset = this.overlay.pick(event.point.x, event.point.y, touch ? PICK_TOUCH_PX : PICK_MOUSE_PX);
    if (asset) return this.#events.select(asset.entry.id);
    const bubble = this.#labels.bubbles.at(cameraOf(this.map), event.point.x, event.point.y);
    if (bubble) return this.open(bubble);
    if (this.#doubts.point(event.point.x, event.point.y)) return;
    const [fence] = this.#styled ? this.map.queryRenderedFeatures(event.point, { layers: ['fence-fill'] }) : [];
    this.#events.fence(fence ? String(fence.properties.id) : null);
  }

  /** Looks into a bubble. Crowds may stand closer together than anything else is looked at. */
  open(box: Bbox): void {
    this.fit(box, Math.min(this.map.getMaxZoom(), Math.max(CLOSE_ZOOM, this.map.getZoom() + 2)));
  }

  #hover(event: MapMouseEvent): void {
    if (event.originalEvent.buttons) return;
    const { x, y } = event.point;
    const id = this.overlay.pick(x, y, PICK_MOUSE_PX)?.entry.id ?? null;
    const hit = id !== null || this.#labels.bubbles.at(cameraOf(this.map), x, y) !== null;
    this.#doubts.point(x, y);
    this.map.getCanvas().style.cursor = hit ? 'pointer' : '';
    if (id !== this.#hovered) this.#events.hover(id);
  }

  emphasise(selected: string | null, hovered: string | null): void {
    if (selected !== this.#selected) {
      this.#trail.clear();
      this.#doubts.clear();
      this.overlay.trailChanged();
    }
    this.#selected = selected;
    this.#hovered = hovered;
    this.#labels.emphasise(selected, hovered);
    this.overlay.emphasise({ selected, hovered });
  }

  /** Positions changed: the selected one's trail grows, and a frame is due. */
  changed(): void {
    const asset = this.#selected === null ? undefined : this.#store.get(this.#selected);
    if (asset && !asset.entry.partial) {
      const { lon, lat, speed_mps } = asset.entry;
      this.#trail.extend({ ...fromLonLat(lon, lat), timeMs: asset.fixMs, speedMps: speed_mps });
      this.overlay.trailChanged();
    } else this.overlay.wake();
  }

  /** Something happened here. */
  pulse(point: Point): void {
    this.#labels.pulse(point);
    this.overlay.wake();
  }

  showTrail(fixes: readonly TrailFix[], doubted: readonly Doubted[]): void {
    this.#trail.merge(fixes);
    this.#doubts.add(doubted);
    this.overlay.trailChanged();
  }

  showFences(fences: readonly Feature[]): void {
    this.#fences = fences;
    const look = fences.map(lookOf).join('\n');
    if (!this.#styled || look === this.#drawn) return;
    this.#drawn = look;
    const { shapes, labels } = draw(fences);
    this.map.getSource<GeoJSONSource>('fences')?.setData(shapes);
    this.map.getSource<GeoJSONSource>('fence-labels')?.setData(labels);
  }

  /** One of them stands out. */
  chooseFence(id: string): void {
    this.#chosen = id;
    if (this.#styled) this.map.setFilter('fence-chosen', ['==', ['get', 'id'], id]);
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    this.overlay.setTheme(theme);
    const turn = () => {
      setTheme(this.map, theme, this.#options.basemap);
      putMarks(this.map, theme);
    };
    if (this.#styled) turn();
    else this.map.once('style.load', turn);
  }

  setPadding(padding: Padding): void {
    this.#padding = padding;
  }

  /** Brings an asset into the free part of the map; zooms in only when the view is too wide to see it move. */
  flyTo(lon: number, lat: number, least = CLOSE_ZOOM): void {
    this.#go({ center: [lon, lat], zoom: Math.max(this.map.getZoom(), least) });
  }

  fit(bounds: Bbox, maxZoom = CLOSE_ZOOM): void {
    const camera = this.map.cameraForBounds(spread(bounds), { padding: inset(this.#padding, 40), maxZoom });
    if (camera) this.map.flyTo({ ...camera, duration: this.#options.still ? 0 : 900 });
  }

  /** Shows all of these places at once. */
  frame(positions: readonly Position[], maxZoom = 17): void {
    const box = enclosing(positions);
    if (box) this.fit(box, maxZoom);
  }

  frameFence(fence: Feature): void {
    const place: Geometry | null = fence.geometry; // null: it is around assets
    const box = place && extent(outline(fence));
    if (box) this.fit(box);
  }

  follow(on: boolean): void {
    this.#following = on;
    const asset = this.#selected === null ? undefined : this.#store.get(this.#selected);
    if (on && asset) {
      const [lon, lat] = toLonLat(at(asset.leg, performance.now()));
      this.#go({ center: [lon, lat], zoom: Math.max(this.map.getZoom(), 14) });
    }
  }

  #go({ center, zoom }: { center: [number, number]; zoom: number }): void {
    const offset = this.#offset();
    const far = this.#far(center);
    const options = { center, zoom, offset };
    if (this.#options.still) this.map.jumpTo({ center, zoom });
    else if (far) this.map.flyTo({ ...options, maxDuration: 2_200 });
    else this.map.easeTo({ ...options, duration: 600 });
  }

  #offset(): [number, number] {
    const { left, right, top, bottom } = this.#padding;
    return [(left - right) / 2, (top - bottom) / 2];
  }

  #far(center: [number, number]): boolean {
    const { x, y } = this.map.project(center);
    const { clientWidth, clientHeight } = this.map.getContainer();
    return Math.hypot(x - clientWidth / 2, y - clientHeight / 2) > 2 * clientWidth;
  }

  #endFollow(): void {
    if (!this.#following) return;
    this.#following = false;
    this.#events.followEnded();
  }

  /** Following: the camera goes where the asset goes. */
  #keepUp(camera: Camera, nowMs: number): void {
    if (!this.#following || this.#selected === null || this.map.isMoving()) return;
    const asset = this.#store.get(this.#selected);
    if (!asset) return;
    const [x, y] = project(camera, at(asset.leg, nowMs));
    const [offsetX, offsetY] = this.#offset();
    const dx = x - camera.width / 2 - offsetX;
    const dy = y - camera.height / 2 - offsetY;
    // Drawing goes on inside a frame: the camera moves after it, and only by what can be seen.
    if (Math.hypot(dx, dy) > 0.5) queueMicrotask(() => this.map.panBy([dx, dy], { duration: 0 }));
  }

  #moved(): void {
    this.#events.moved();
    this.#looking.moved();
  }

  /** What is on the screen now, without the margin that is asked for. */
  seen(): Bbox {
    return this.#looking.seen();
  }
}
