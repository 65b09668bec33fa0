// Where a geofence lies, for going there. How it is drawn is in the server's tiles.

import type { Feature, Geometry, Position } from 'geojson';

const METRES_PER_DEGREE = 111_195;

function positions(value: unknown): Position[] {
  if (!Array.isArray(value)) return [];
  return typeof value[0] === 'number' ? [value as Position] : value.flatMap(positions);
}

/** Places around it: its corners, or what is as far from its middle or its path as it reaches. Around assets it is nowhere. */
export function placesOf({ geometry, properties }: Feature): Position[] {
  const place: Geometry | null = geometry;
  const corners = place && 'coordinates' in place ? positions(place.coordinates) : [];
  const reach = Number(properties?.radius_m ?? properties?.buffer_m ?? 0) / METRES_PER_DEGREE;
  if (!reach) return corners;
  return corners.flatMap(([lon = 0, lat = 0]) => {
    const wide = Math.min(180, reach / Math.max(0.01, Math.cos((lat * Math.PI) / 180)));
    return [
      [lon - wide, lat],
      [lon + wide, lat],
      [lon, Math.max(-90, lat - reach)],
      [lon, Math.min(90, lat + reach)],
    ];
  });
}
