// History from tiles that the server makes: an asset's way over a span of time, and where the fleet has been. Each costs
// what can be seen of it, however long it is.

import type { LayerSpecification, Map as MapLibre, PointLike, VectorTileSource } from 'maplibre-gl';
import { byZoom, FINEST, type Ours, type Theme, tilesOf } from './style';

export type Tiled = Exclude<Ours, 'geofences'>;

/** A layer without where it comes from. */
type Look = LayerSpecification extends infer L ? (L extends unknown ? Omit<L, 'source' | 'source-layer'> : never) : never;

const LAYERS_OF: Record<Tiled, string> = { way: 'tracks', density: 'density' };
/** The layer of the base style that each is put beneath. */
const BENEATH: Record<Tiled, string> = { way: 'label-city', density: 'fence-fill' };
const REACH_PX = 6;

interface Ink {
  way: string;
  halo: string;
  ramp: string[];
}

// From seldom to often: on light ground towards the dark, on dark ground towards the light, and each step apart in lightness.
const INKS: Record<Theme, Ink> = {
  light: {
    way: '#1f6feb',
    halo: 'rgba(255,255,255,0.9)',
    ramp: ['#f4b13d', '#f0803c', '#dc4a4a', '#a92a72', '#6b1a7b', '#32094f'],
  },
  dark: {
    way: '#5b9dff',
    halo: 'rgba(18,23,29,0.9)',
    ramp: ['#6a3a9c', '#a63f9b', '#e0527f', '#fb8661', '#fdc06b', '#fdf6bd'],
  },
};

/** The colours of 1, 10, 100, … fixes. */
export const ramp = (theme: Theme): readonly string[] => INKS[theme].ramp;

/** Half a cell's side: of 64 cells across a tile of 512 pixels, which grows until the next zoom has its own. */
const dot: any = ['interpolate', ['linear'], ['zoom'], ...Array.from({ length: FINEST + 1 }, (_, z) => [z, 5.2, z + 0.99, 10.2]).flat()];

function wayLayers(ink: Ink): Look[] {
  // Where a tile cannot show it exactly, it says by how many pixels it may be off: there the line is soft.
  const soft: any = ['case', ['has', 'off_px'], 1.5, 0];
  return [
    {
      id: 'way-line',
      type: 'line',
      filter: ['==', ['geometry-type'], 'LineString'],
      layout: { 'line-join': 'round', 'line-cap': 'round' },
      paint: { 'line-color': ink.way, 'line-width': byZoom([[4, 1.4], [10, 2], [16, 3.5]]), 'line-opacity': 0.5, 'line-blur': soft },
    },
    {
      id: 'way-point',
      type: 'circle',
      filter: ['==', ['geometry-type'], 'Point'],
      paint: { 'circle-color': ink.way, 'circle-opacity': 0.8, 'circle-radius': byZoom([[4, 2], [16, 3.5]]), 'circle-stroke-color': ink.halo, 'circle-stroke-width': 1 },
    },
  ];
}

function densityLayers(ink: Ink): Look[] {
  const by = (...stops: unknown[]): any => ['interpolate', ['linear'], ['log10', ['get', 'fixes']], ...stops];
  const colour = by(...ink.ramp.flatMap((each, tens) => [tens, each]));
  return [{ id: 'density-dot', type: 'circle', paint: { 'circle-color': colour, 'circle-radius': dot, 'circle-blur': 0.3, 'circle-opacity': by(0, 0.65, 4, 0.95) } }];
}

const LOOKS: Record<Tiled, (ink: Ink) => Look[]> = { way: wayLayers, density: densityLayers };

function layersOf(name: Tiled, theme: Theme): LayerSpecification[] {
  return LOOKS[name](INKS[theme]).map((layer) => ({ ...layer, source: name, 'source-layer': LAYERS_OF[name] }) as LayerSpecification);
}

/** From when to when an asset was at a place. */
export interface Passage {
  from: string;
  to: string;
}

interface Shown {
  /** Whose or what kind it is: of another one nothing old may be seen while tiles come. */
  key: string;
  url: string;
}

export class TiledLayers {
  readonly #map: MapLibre;
  readonly #shown = new Map<Tiled, Shown>();
  #theme: Theme;
  #styled = false;

  constructor(map: MapLibre, theme: Theme) {
    this.#map = map;
    this.#theme = theme;
    map.once('style.load', () => {
      this.#styled = true;
      for (const [name, { url }] of this.#shown) this.#add(name, url);
    });
  }

  shows(name: Tiled): boolean {
    return this.#shown.has(name);
  }

  /** The same key again: what is there stays until its successor has come. */
  show(name: Tiled, key: string, query: string): void {
    const url = tilesOf(LAYERS_OF[name] + query);
    const before = this.#shown.get(name);
    if (before?.url === url) return;
    if (before && before.key !== key) this.hide(name);
    this.#shown.set(name, { key, url });
    if (!this.#styled) return;
    const source = this.#map.getSource<VectorTileSource>(name);
    if (source) source.setTiles([url]);
    else this.#add(name, url);
  }

  hide(name: Tiled): void {
    if (!this.#shown.delete(name) || !this.#styled) return;
    for (const { id } of layersOf(name, this.#theme)) this.#map.removeLayer(id);
    this.#map.removeSource(name);
  }

  #add(name: Tiled, url: string): void {
    this.#map.addSource(name, { type: 'vector', tiles: [url], maxzoom: FINEST });
    for (const layer of layersOf(name, this.#theme)) this.#map.addLayer(layer, BENEATH[name]);
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    if (!this.#styled) return;
    for (const name of this.#shown.keys()) {
      for (const layer of layersOf(name, theme)) {
        for (const [paint, value] of Object.entries(layer.paint ?? {})) this.#map.setPaintProperty(layer.id, paint as any, value);
      }
    }
  }

  /** When the asset whose way is shown was here, newest first. */
  passagesAt(x: number, y: number): Passage[] {
    const box: [PointLike, PointLike] = [[x - REACH_PX, y - REACH_PX], [x + REACH_PX, y + REACH_PX]];
    if (!this.#styled || !this.#shown.has('way')) return [];
    const found = this.#map.queryRenderedFeatures(box, { layers: ['way-line', 'way-point'] }).map(({ properties }) => properties as Passage);
    const each = new Map(found.map((passage) => [passage.from, passage]));
    return [...each.values()].sort((a, b) => Date.parse(b.from) - Date.parse(a.from));
  }
}
