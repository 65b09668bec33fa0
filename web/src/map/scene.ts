// The map with everything on it, and the camera's manners: choosing, following, flying, telling what is in view.

import type { Feature, Position } from 'geojson';
import type { Map as MapLibre, MapMouseEvent } from 'maplibre-gl';
import { fromLonLat, type Point, toLonLat } from '../lib/mercator';
import { at } from '../live/interp';
import type { Own, Span } from '../lib/span';
import { passageWords } from '../lib/units';
import type { Bbox } from '../live/messages';
import type { Crowd } from '../live/crowd';
import type { Store } from '../live/store';
import { enclosing } from './bounds';
import { type Camera, cameraOf, project } from './camera';
import { Doubts } from './doubts';
import { placesOf } from './fences';
import { Findings } from './findings';
import { type Box, Labels } from './labels';
import { gridLayer, putMarks } from './marks';
import { Looking } from './looking';
import { inset, makeMap, type Padding, setTheme, spread } from './map';
import { type Companion, Overlay } from './overlay';
import type { Basemap, Ours, Theme } from './style';
import { TiledLayers } from './tiled';
import { Tip } from './tip';
import { type Doubted, Trail, type TrailFix } from './trail';

const ASK_AGAIN_MS = 5_000;
const CLOSE_ZOOM = 15.5;
const PICK_MOUSE_PX = 16;
const PICK_TOUCH_PX = 26;

const OURS: readonly Ours[] = ['way', 'density', 'geofences'];

/** An answer with a reason, which only another question changes. */
interface Refusal {
  status: number;
  body: Blob;
}

const isOurs = (source: string): source is Ours => (OURS as readonly string[]).includes(source);
const isRefusal = (error: unknown): error is Refusal => [413, 422].includes((error as Partial<Refusal>).status ?? 0);

export interface Events {
  select(id: string | null): void;
  hover(id: string | null): void;
  fence(id: string | null): void;
  look(bbox: Bbox, zoom: number): void;
  moved(): void;
  followEnded(): void;
  /** The server makes no tiles of something, and says why; null: it was asked for something else. */
  refused(what: Ours, why: string | null): void;
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
  readonly #tiled: TiledLayers;
  readonly #tip: Tip;
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
  #chosen = '';

  constructor(store: Store, crowd: Crowd, options: Options, events: Events) {
    this.#store = store;
    this.#options = options;
    this.#events = events;
    this.#padding = options.padding;
    this.#theme = options.theme;
    this.map = makeMap(options.container, options.basemap, options.theme, options.bounds, options.padding);
    this.#looking = new Looking(this.map, (bbox, zoom) => events.look(bbox, zoom));
    this.#tip = new Tip(this.map);
    this.#doubts = new Doubts(this.map, this.#tip, options.serverNow);
    this.#tiled = new TiledLayers(this.map, options.theme);
    this.findings = new Findings(this.map);
    this.#labels = new Labels(store, crowd, options.covered);
    this.overlay = new Overlay(this.map, store, this.#trail, this.#companion(), options.serverNow);
    this.overlay.setTheme(options.theme);
    this.map.getCanvasContainer().append(this.overlay.canvas, this.#labels.element, this.#tip.element);
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
      this.chooseFence(this.#chosen);
    });
    map.on('move', () => this.#moved());
    map.on('moveend', () => this.#moved());
    map.on('resize', () => this.#moved());
    map.on('dragstart', () => this.#endFollow());
    map.on('mousemove', (event) => this.#hover(event));
    map.on('mouseout', () => this.#events.hover(null));
    map.on('click', (event) => this.#click(event));
    map.on('zoomend', () => this.#askedAnew());
    map.on('error', ({ error, ...where }) => {
      const source = 'sourceId' in where ? String(where.sourceId) : null;
      if (source && isOurs(source) && isRefusal(error)) return void this.#refused(source, error);
      if (source) {
        this.#faulty.add(source);
        this.#again ??= setTimeout(() => this.reload(), ASK_AGAIN_MS);
      }
      console.warn(`map: ${error.message}`);
    });
  }

  /** The same tile again would be refused again: it is the user who can help it. */
  async #refused(what: Ours, { body }: Refusal): Promise<void> {
    const problem = JSON.parse(await body.text()) as { detail: string };
    if (what === 'geofences' || this.#tiled.shows(what)) this.#events.refused(what, problem.detail);
  }

  #askedAnew(...what: Ours[]): void {
    for (const each of what.length ? what : OURS) this.#events.refused(each, null);
  }

  /** The way of an asset over a span, from tiles. The trail of its last half hour goes on beside it. */
  showWay(id: string, span: Span, { from, to }: Own): void {
    const key = `${id} ${JSON.stringify(span)}`;
    this.#tiled.show('way', key, `&assets=${id}&from=${from}&to=${to}`);
  }

  hideWay(): void {
    this.#tiled.hide('way');
    this.#askedAnew('way');
  }

  /** Where all of the fleet has been. */
  showDensity(span: Span, { from, to }: Own): void {
    this.#tiled.show('density', JSON.stringify(span), `&from=${from}&to=${to}`);
  }

  hideDensity(): void {
    this.#tiled.hide('density');
    this.#askedAnew('density');
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
    const { x, y } = event.point;
    if (this.#doubts.point(x, y) || this.#passed(x, y)) return;
    const [fence] = this.#styled ? this.map.queryRenderedFeatures(event.point, { layers: ['fence-fill'] }) : [];
    this.#events.fence(fence?.properties.id ? String(fence.properties.id) : null);
  }

  /** Says when the asset whose way is shown was here. */
  #passed(x: number, y: number): boolean {
    const passages = this.#tiled.passagesAt(x, y);
    if (passages.length) this.#tip.show(x, y, passageWords(passages, this.#options.serverNow()));
    return passages.length > 0;
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
    if (!this.#doubts.point(x, y)) this.#tip.hide();
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

  /** The server says of each tile if it is still the same. */
  refreshFences(): void {
    if (this.#styled) this.map.refreshTiles('geofences');
  }

  /** One of them stands out. */
  chooseFence(id: string): void {
    this.#chosen = id;
    if (this.#styled) this.map.setFilter('fence-chosen', ['==', ['get', 'id'], id]);
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    this.overlay.setTheme(theme);
    this.#tiled.setTheme(theme);
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
    this.frame(placesOf(fence), CLOSE_ZOOM);
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
