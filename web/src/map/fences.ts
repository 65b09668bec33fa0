// Geofences as the map draws them: circles become rings of equal true distance, corridors their outline's line, names a point.

import type { Feature, FeatureCollection, Geometry, Polygon, Position } from 'geojson';

const EARTH_RADIUS_M = 6_371_008.8;
const CIRCLE_CORNERS = 96;
const NAME_PX = 36;
const RAD = Math.PI / 180;

/** Where one gets from a place by going `distanceM` in a direction. */
function destination([lon = 0, lat = 0]: Position, distanceM: number, bearingRad: number): Position {
  const angle = distanceM / EARTH_RADIUS_M;
  const phi = lat * RAD;
  const sinTo = Math.sin(phi) * Math.cos(angle) + Math.cos(phi) * Math.sin(angle) * Math.cos(bearingRad);
  const turn = Math.atan2(
    Math.sin(bearingRad) * Math.sin(angle) * Math.cos(phi),
    Math.cos(angle) - Math.sin(phi) * sinTo,
  );
  return [lon + turn / RAD, Math.asin(Math.max(-1, Math.min(1, sinTo))) / RAD];
}

export function circle(center: Position, radiusM: number): Polygon {
  const ring = Array.from({ length: CIRCLE_CORNERS }, (_, i) =>
    destination(center, radiusM, (-2 * Math.PI * i) / CIRCLE_CORNERS),
  );
  return { type: 'Polygon', coordinates: [[...ring, ring[0] as Position]] };
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
    const properties = fence.properties ?? {};
    const { geometry } = fence;
    if (!geometry) continue;
    const radius: unknown = properties.radius_m;
    const shape = geometry.type === 'Point' && typeof radius === 'number' ? circle(geometry.coordinates, radius) : geometry;
    const kept = { id: fence.id ?? properties.id ?? null, name: String(properties.name ?? '') };
    shapes.push({ type: 'Feature', properties: kept, geometry: shape });
    const point = labelPoint(shape);
    if (point && kept.name) labels.push({ type: 'Feature', properties: { ...kept, from: nameZoom(shape) }, geometry: { type: 'Point', coordinates: point } });
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
