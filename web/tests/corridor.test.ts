import type { Position } from 'geojson';
import { describe, expect, test } from 'vitest';
import { along, destination, inverse } from '../src/lib/geodesic';
import { corridor } from '../src/map/corridor';

const RAD = Math.PI / 180;

describe('the geodesic', () => {
  // Flinders Peak to Buninyong, from the Geocentric Datum of Australia's manual (GRS80, which is WGS84 to a tenth of a millimetre).
  const flinders: Position = [144.424_867_888_9, -37.951_033_416_7];
  const buninyong: Position = [143.926_495_527_8, -37.652_821_138_9];

  test('is as long as the surveyors have it', () => {
    const { distanceM, bearingRad } = inverse(flinders, buninyong);
    expect(distanceM).toBeCloseTo(54_972.271, 2);
    expect(((bearingRad / RAD) + 360) % 360).toBeCloseTo(306.868_159, 5);
  });

  test('leads where it came from', () => {
    const { distanceM, bearingRad } = inverse(flinders, buninyong);
    const [lon = 0, lat = 0] = destination(flinders, distanceM, bearingRad);
    expect(lon).toBeCloseTo(buninyong[0] ?? 0, 8);
    expect(lat).toBeCloseTo(buninyong[1] ?? 0, 8);
  });

  test('takes the short way over the antimeridian, in one piece', () => {
    const way = along([[179, 10], [-179, 10]], 20_000);
    expect(way.length).toBeGreaterThan(5);
    expect(way.at(-1)).toEqual([181, 10]);
    expect(way.every(([lon = 0]) => lon >= 179 && lon <= 181)).toBe(true);
  });

  test('bows towards the pole between places on one parallel', () => {
    expect(Math.max(...along([[0, 60], [60, 60]], 50_000).map(([, lat = 0]) => lat))).toBeGreaterThan(63);
  });
});

/** From a place to a path, by looking at many of its places. */
function distance(place: Position, path: Position[]): number {
  return Math.min(...along(path, 5).map((each) => inverse(place, each).distanceM));
}

describe('the outline of a corridor', () => {
  const bent: Position[] = [[24.94, 60.17], [24.95, 60.17], [24.95, 60.175], [24.944, 60.172]];

  test('lies everywhere at its buffer from the path', () => {
    const outline = corridor(bent, 60);
    const [ring = []] = outline?.coordinates[0] ?? [];
    expect(ring.length).toBeGreaterThan(30);
    expect(ring[0]).toEqual(ring.at(-1));
    for (const place of ring.filter((_, i) => i % 5 === 0)) expect(Math.abs(distance(place, bent) - 60)).toBeLessThan(1.5);
  });

  test('has a hole where the path goes round', () => {
    const round: Position[] = Array.from({ length: 25 }, (_, i) => destination([24.94, 60.17], 500, (2 * Math.PI * i) / 24));
    const outline = corridor(round, 100);
    expect(outline?.coordinates).toHaveLength(1);
    expect(outline?.coordinates[0]).toHaveLength(2);
    expect(corridor(round, 600)?.coordinates[0]).toHaveLength(1);
  });

  test('is one piece where legs are much shorter than the buffer, and double back', () => {
    const dense: Position[] = Array.from({ length: 200 }, (_, i) => [24.94 + Math.abs(100 - i) * 0.0001, 60.17 + Math.sin(i) * 0.000_05]);
    const outline = corridor(dense, 80);
    expect(outline?.coordinates).toHaveLength(1);
    expect(outline?.coordinates[0]).toHaveLength(1);
  });

  test('is in one piece over the antimeridian', () => {
    const outline = corridor([[179.9, 10], [-179.9, 10.05]], 5_000);
    expect(outline?.coordinates).toHaveLength(1);
    const lons = outline?.coordinates[0]?.[0]?.map(([lon = 0]) => lon) ?? [];
    expect(Math.max(...lons) - Math.min(...lons)).toBeLessThan(0.4);
  });

  test('is a circle where the path has no length', () => {
    const outline = corridor([[24.94, 60.17], [24.94, 60.17]], 100);
    expect(outline?.coordinates).toHaveLength(1);
    for (const place of outline?.coordinates[0]?.[0] ?? []) expect(inverse([24.94, 60.17], place).distanceM).toBeCloseTo(100, -1);
  });

  test('is left out where it is a thread, however long', () => {
    expect(corridor([[0, 10], [100, 20]], 10)).toBeNull();
  });

  test('of a long way is found with coarser cells', () => {
    expect(corridor([[10, 50], [24, 54]], 2_000)?.coordinates).toHaveLength(1);
  });
});
