// The base map and its camera: flat, turnable, on bundled tiles. It knows nothing of assets.

import { AttributionControl, addProtocol, type LngLatBoundsLike, Map as MapLibre, setWorkerUrl } from 'maplibre-gl';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?url';
import { Protocol } from 'pmtiles';
import type { Bbox } from '../live/messages';
import { type Basemap, FINEST, layers, style, type Theme } from './style';
import { cameraOf, copies } from './camera';
import { toLonLat } from '../lib/mercator';

const OSM = '<a href="https://www.openstreetmap.org/copyright" target="_blank" rel="noopener">© OpenStreetMap contributors (ODbL)</a>';
const NATURAL_EARTH = '<a href="https://www.naturalearthdata.com" target="_blank" rel="noopener">Natural Earth</a>';
const GEONAMES = '<a href="https://www.geonames.org" target="_blank" rel="noopener">GeoNames</a>';
const WORLD: LngLatBoundsLike = [-150, -52, 170, 72];
const FIT_MAX_ZOOM = 15.5;

export interface Padding {
  top: number;
  right: number;
  bottom: number;
  left: number;
}

export function makeMap(container: HTMLElement, basemap: Basemap, theme: Theme, bounds: Bbox | null, padding: Padding): MapLibre {
  setWorkerUrl(workerUrl);
  addProtocol('pmtiles', new Protocol().tile);
  const map = new MapLibre({
    container,
    style: style(theme, basemap),
    bounds: bounds ? spread(bounds) : WORLD,
    fitBoundsOptions: { padding: inset(padding, 56), maxZoom: FIT_MAX_ZOOM },
    maxPitch: 0,
    maxZoom: FINEST,
    minZoom: 0.6,
    pitchWithRotate: false,
    touchPitch: false,
    attributionControl: false,
    fadeDuration: 120,
    locale: { 'Map.Title': 'Map: drag to move, scroll to zoom' },
  });
  const attribution = [NATURAL_EARTH, GEONAMES, ...(basemap.streets.length ? [OSM] : [])];
  map.addControl(new AttributionControl({ compact: window.innerWidth < 700, customAttribution: attribution }), 'bottom-right');
  map.touchZoomRotate.disableRotation();
  return map;
}

/** One position has no extent, and a box over the antimeridian has its east beyond 180. */
export function spread([w, s, e, n]: Bbox): [number, number, number, number] {
  const east = e < w ? e + 360 : e;
  const least = 0.002;
  return [Math.min(w, east - least), Math.max(-85, s - least / 2), Math.max(east, w + least), Math.min(85, n + least / 2)];
}

export function inset(padding: Padding, by: number): Padding {
  return { top: padding.top + by, right: padding.right + by, bottom: padding.bottom + by, left: padding.left + by };
}

/** Only paints differ between themes: they are set one by one, and nothing is loaded or laid out again. */
export function setTheme(map: MapLibre, theme: Theme, basemap: Basemap): void {
  for (const layer of layers(theme, basemap)) {
    for (const [name, value] of Object.entries(layer.paint ?? {})) map.setPaintProperty(layer.id, name as any, value);
  }
}

const wrap = (lon: number): number => ((((lon + 180) % 360) + 360) % 360) - 180;

/** The box of what can be seen, grown by `pad` of its size on each side. */
export function viewBox(map: MapLibre, pad: number): Bbox {
  const camera = cameraOf(map);
  const halfX = ((Math.abs(camera.cos) * camera.width + Math.abs(camera.sin) * camera.height) / 2 / camera.scale) * (1 + 2 * pad);
  const halfY = ((Math.abs(camera.sin) * camera.width + Math.abs(camera.cos) * camera.height) / 2 / camera.scale) * (1 + 2 * pad);
  const dx = (camera.width / 2 - camera.originX) / camera.scale;
  const dy = (camera.height / 2 - camera.originY) / camera.scale;
  const x = camera.center.x + dx * camera.cos + dy * camera.sin;
  const y = camera.center.y - dx * camera.sin + dy * camera.cos;
  const [west, north] = toLonLat({ x: x - halfX, y: Math.max(0, y - halfY) });
  const [east, south] = toLonLat({ x: x + halfX, y: Math.min(1, y + halfY) });
  // At the edge of the plane stand the poles: fixes beyond mercator's last latitude belong to the view, too.
  const top = y - halfY <= 0 ? 90 : north;
  const bottom = y + halfY >= 1 ? -90 : south;
  return halfX >= 0.5 || copies(camera).length > 2 ? [-180, bottom, 180, top] : [wrap(west), bottom, wrap(east), top];
}

/** Does the outer box still hold all of the inner one? */
export function holds(outer: Bbox, inner: Bbox): boolean {
  const width = ([w, , e]: Bbox) => (e < w ? e - w + 360 : e - w);
  if (inner[1] < outer[1] || inner[3] > outer[3]) return false;
  if (width(outer) >= 360) return true;
  const offset = (((inner[0] - outer[0]) % 360) + 360) % 360;
  return offset + width(inner) <= width(outer);
}
