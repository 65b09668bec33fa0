// Geofences as the map draws them: circles and corridors by their true outline, names a point.
//
// Outlines are computed here and not asked of the server: it judges by distance and has none. Each is computed once for
// a version of its geofence.

import type { Feature, FeatureCollection, Geometry, Polygon, Position } from 'geojson';
import { destination } from '../lib/geodesic';
import { corridor } from './corridor';

const CIRCLE_CORNERS = 96;
const NAME_PX = 36;

/** A circle goes on beyond ±180, and one that holds a pole goes along it, as maps of Antarctica do. */
export function circle(center: Position, radiusM: number): Polygon {
  const ring: Position[] = [];
  for (let i = 0; i <= CIRCLE_CORNERS; i += 1) {
    const [lon = 0, lat = 0] = destination(center, radiusM, (-2 * Math.PI * i) / CIRCLE_CORNERS);
    const before = ring.at(-1)?.[0] ?? lon;
    ring.push([lon - 360 * Math.round((lon - before) / 360), lat]);
  }
  const [first, last] = [ring[0] as Position, ring.at(-1) as Position];
  if (Math.abs((first[0] ?? 0) - (last[0] ?? 0)) < 180) ring[ring.length - 1] = first;
  else {
    const pole = (center[1] ?? 0) > 0 ? 90 : -90;
    ring.push([last[0] ?? 0, pole], [first[0] ?? 0, pole], first);
  }
  return { type: 'Polygon', coordinates: [ring] };
}

export const idOf = (fence: Feature): string => String(fence.id ?? fence.properties?.id);

/** Changes when what is drawn of a geofence does: its shape makes a version, its name none. */
export const lookOf = (fence: Feature): string => `${idOf(fence)} ${fence.properties?.version} ${fence.properties?.name}`;

const outlines = new WeakMap<Feature, Geometry>();

export function outline(fence: Feature): Geometry {
  const { geometry, properties } = fence;
  const known = outlines.get(fence);
  if (known) return known;
  let found = geometry;
  if (geometry.type === 'Point' && typeof properties?.radius_m === 'number') found = circle(geometry.coordinates, properties.radius_m);
  if (geometry.type === 'LineString' && typeof properties?.buffer_m === 'number') found = corridor(geometry.coordinates, properties.buffer_m) ?? geometry;
  outlines.set(fence, found);
  return found;
}

/** The newest list, with what has not changed as it was: outlines stay known. */
export function kept(now: readonly Feature[], before: readonly Feature[]): Feature[] {
  const known = new Map(before.map((fence) => [lookOf(fence), fence]));
  return now.map((fence) => known.get(lookOf(fence)) ?? fence);
}

function ringArea(ring: Position[]): number {
  return Math.abs(
    ring.reduce((sum, [x = 0, y = 0], i) => {
      const [x2 = 0, y2 = 0] = ring[(i + 1) % ring.length] ?? [];
      return sum + x * y2 - x2 * y;
    }, 0) / 2,
  );
}

/** A name stands on the highest point of its fence's largest part, where it covers little of what goes on inside. */
function labelPoint(geometry: Geometry): Position | null {
  const lines = geometry.type === 'LineString' ? [geometry.coordinates] : [];
  const parts = geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.type === 'MultiPolygon' ? geometry.coordinates : [];
  const rings = [...lines, ...parts.map((part) => part[0] ?? [])].sort((a, b) => ringArea(b) - ringArea(a));
  return rings[0]?.reduce((top, position) => ((position[1] ?? 0) > (top[1] ?? 0) ? position : top)) ?? null;
}

/** The zoom from which a fence is wide enough on screen to be worth a name. */
function nameZoom(geometry: Geometry): number {
  const [w, s, e, n] = extent(geometry) ?? [0, 0, 0, 0];
  const degrees = Math.max(e - w, n - s, 1e-6);
  return Math.log2((360 / degrees) * (NAME_PX / 512));
}

export interface Drawn {
  shapes: FeatureCollection;
  labels: FeatureCollection;
}

export function draw(fences: readonly Feature[]): Drawn {
  const shapes: Feature[] = [];
  const labels: Feature[] = [];
  for (const fence of fences) {
    if (!fence.geometry) continue;
    const shape = outline(fence);
    const properties = { id: idOf(fence), name: String(fence.properties?.name ?? '') };
    shapes.push({ type: 'Feature', properties, geometry: shape });
    const point = labelPoint(shape);
    if (point && properties.name) labels.push({ type: 'Feature', properties: { ...properties, from: nameZoom(shape) }, geometry: { type: 'Point', coordinates: point } });
  }
  return {
    shapes: { type: 'FeatureCollection', features: shapes },
    labels: { type: 'FeatureCollection', features: labels },
  };
}

/** west, south, east, north of a fence, for flying to it. */
export function extent(geometry: Geometry): [number, number, number, number] | null {
  const positions: Position[] = [];
  const walk = (value: unknown): void => {
    if (!Array.isArray(value)) return;
    if (typeof value[0] === 'number') positions.push(value as Position);
    else value.forEach(walk);
  };
  if ('coordinates' in geometry) walk(geometry.coordinates);
  if (!positions.length) return null;
  const lons = positions.map(([lon = 0]) => lon);
  const lats = positions.map(([, lat = 0]) => lat);
  return [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)];
}
