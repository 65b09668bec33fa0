// The smallest box around places: of all the ways round the earth, the one that leaves the widest gap out.

import type { Position } from 'geojson';
import type { Bbox } from '../live/messages';

/** West may be east of east: then the box goes over the antimeridian. Null for no places. */
export function enclosing(places: readonly Position[]): Bbox | null {
  if (!places.length) return null;
  const lats = places.map(([, lat = 0]) => lat).sort((a, b) => a - b);
  const lons = places.map(([lon = 0]) => lon - 360 * Math.floor((lon + 180) / 360)).sort((a, b) => a - b);
  let [west, east, widest] = [lons[0] ?? 0, lons.at(-1) ?? 0, 360 - ((lons.at(-1) ?? 0) - (lons[0] ?? 0))];
  lons.slice(1).forEach((lon, i) => {
    const before = lons[i] ?? lon;
    if (lon - before > widest) [west, east, widest] = [lon, before, lon - before];
  });
  return [west, lats[0] ?? 0, east, lats.at(-1) ?? 0];
}
