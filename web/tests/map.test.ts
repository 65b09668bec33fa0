import type { Geometry } from 'geojson';
import { describe, expect, test } from 'vitest';
import { fromLonLat, metresPerUnit, toLonLat } from '../src/lib/mercator';
import { type Camera, cameraOf, copies, project } from '../src/map/camera';
import { placesOf } from '../src/map/fences';
import { side } from '../src/map/labels';
import { enclosing } from '../src/map/bounds';
import { groups } from '../src/map/groups';
import { doubtedOf, fixesOf, Trail } from '../src/map/trail';

function camera(lng: number, lat: number, zoom: number, bearing = 0): Camera {
  return cameraOf({
    getCenter: () => ({ lng, lat }),
    getZoom: () => zoom,
    getBearing: () => bearing,
    getPadding: () => ({}),
    getContainer: () => ({ clientWidth: 800, clientHeight: 600 }),
  });
}

describe('the camera', () => {
  test('puts its centre in the middle of the screen', () => {
    expect(project(camera(24.94, 60.17, 14), fromLonLat(24.94, 60.17))).toEqual([400, 300]);
  });

  test('turns with the map', () => {
    const [x, y] = project(camera(0, 0, 4, 90), fromLonLat(1, 0));
    expect(x).toBeCloseTo(400, 6);
    expect(y).toBeLessThan(300);
  });

  test('shows a place beyond the antimeridian in the nearest copy of the world', () => {
    const [x] = project(camera(179.9, 0, 6), fromLonLat(-179.9, 0));
    expect(x).toBeGreaterThan(400);
    expect(x).toBeLessThan(500);
  });

  test('sees several copies of the world when far out', () => {
    expect(copies(camera(0, 0, 0)).length).toBeGreaterThan(2);
    expect(copies(camera(24, 60, 12))).toEqual([0]);
  });
});

test('mercator there and back is the same place', () => {
  const [lon, lat] = toLonLat(fromLonLat(-122.4194, 37.7749));
  expect(lon).toBeCloseTo(-122.4194, 9);
  expect(lat).toBeCloseTo(37.7749, 9);
});

describe('a geofence', () => {
  const fence = (geometry: Geometry | null, properties = {}) => placesOf({ type: 'Feature', id: 'gf_1', geometry: geometry as Geometry, properties });

  test('reaches as far as its corners, its radius or its buffer', () => {
    expect(enclosing(fence({ type: 'MultiPolygon', coordinates: [[[[1, 2], [3, 2], [3, 5], [1, 2]]], [[[8, 2], [9, 2], [9, 3], [8, 2]]]] }))).toEqual([1, 2, 9, 5]);
    const [west, south, east, north] = enclosing(fence({ type: 'Point', coordinates: [24.94, 60] }, { radius_m: 1_000 })) ?? [];
    expect((north ?? 0) - (south ?? 0)).toBeCloseTo(0.018, 3);
    expect((east ?? 0) - (west ?? 0)).toBeCloseTo(0.036, 3);
    expect(enclosing(fence({ type: 'LineString', coordinates: [[179.9, 0], [-179.9, 0]] }, { buffer_m: 11_119.5 }))?.[0]).toBeCloseTo(179.8, 6);
  });

  test('around assets is nowhere on the map', () => expect(fence(null, { within_m: 100 })).toEqual([]));
});

describe('the box around places', () => {
  test('is the smallest, also over the antimeridian', () => {
    expect(enclosing([[24, 60], [25, 59], [20, 61]])).toEqual([20, 59, 25, 61]);
    expect(enclosing([[179, 1], [-178, 2], [170, 3]])).toEqual([170, 1, -178, 3]);
    expect(enclosing([[181, 1], [179, 1]])).toEqual([179, 1, -179, 1]);
  });

  test('of one place has no size, and of none there is none', () => {
    expect(enclosing([[5, 6]])).toEqual([5, 6, 5, 6]);
    expect(enclosing([])).toBeNull();
  });
});

describe('a name', () => {
  const panel = { left: 500, top: 0, right: 800, bottom: 400 };

  test('stands right of its marker where nothing is', () => {
    expect(side(100, 100, 60, [panel])?.left).toBe(false);
  });

  test('stands left of it where a panel would hide its end', () => {
    expect(side(450, 100, 60, [panel])?.left).toBe(true);
    expect(side(450, 600, 60, [panel])?.left).toBe(false);
  });

  test('stays on its side while it can, so that it does not flutter', () => {
    expect(side(100, 100, 60, [panel], true)?.left).toBe(true);
  });

  test('is left away where there is no room on either side', () => {
    expect(side(600, 100, 60, [panel])).toBeNull();
    expect(side(450, 100, 60, [panel, { left: 300, top: 90, right: 420, bottom: 110 }])).toBeNull();
  });
});

describe('groups', () => {
  const near = Array.from({ length: 5 }, (_, i) => ({ id: `a${i}`, point: fromLonLat(24.94 + i * 0.0001, 60.17) }));
  const far = { id: 'z', point: fromLonLat(-40, 30) };

  test('stand for assets that would hide one another', () => {
    const found = groups(camera(0, 40, 2), [...near, far]);
    expect(found.map((group) => group.members.length)).toEqual([5]);
  });

  test('leave few assets alone', () => {
    expect(groups(camera(0, 40, 2), near.slice(0, 2))).toEqual([]);
  });

  test('end at street level', () => {
    expect(groups(camera(24.94, 60.17, 15), near)).toEqual([]);
  });
});

describe('the trail', () => {
  const time = (s: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, s)).toISOString();
  const track = {
    type: 'FeatureCollection' as const,
    features: [
      {
        type: 'Feature' as const,
        geometry: { type: 'LineString' as const, coordinates: [[24.94, 60.17], [24.941, 60.17], [24.942, 60.17]] },
        properties: { times: [time(0), time(10), time(20)], speed_mps: [1, null, 3] },
      },
    ],
  };

  test('is read from the columns beside the line', () => {
    expect(fixesOf(track).map((fix) => fix.speedMps)).toEqual([1, null, 3]);
  });

  test('leaves out what is not believed, which is told apart with its reasons', () => {
    const [feature] = track.features;
    if (!feature) throw new Error('no feature');
    const doubtful = { ...feature, properties: { ...feature.properties, flags: [[], ['jump', 'poor_accuracy'], []] } };
    const both = { ...track, features: [doubtful] };
    expect(fixesOf(both).map((fix) => fix.speedMps)).toEqual([1, 3]);
    expect(doubtedOf(both)).toEqual([{ lon: 24.941, lat: 60.17, timeMs: Date.parse(time(10)), flags: ['jump', 'poor_accuracy'] }]);
    expect(doubtedOf(track)).toEqual([]);
  });

  test('takes history that arrives after live fixes, each time once', () => {
    const trail = new Trail();
    trail.extend({ ...fromLonLat(24.942, 60.17), timeMs: Date.parse(time(20)), speedMps: 3 });
    trail.extend({ ...fromLonLat(24.943, 60.17), timeMs: Date.parse(time(30)), speedMps: 3 });
    trail.merge(fixesOf(track));
    expect(trail.fixes).toHaveLength(4);
    expect(trail.joint?.timeMs).toBe(Date.parse(time(20)));
  });

  test('does not go back for a late fix', () => {
    const trail = new Trail();
    trail.merge(fixesOf(track));
    trail.extend({ ...fromLonLat(24, 60), timeMs: Date.parse(time(5)), speedMps: null });
    expect(trail.fixes).toHaveLength(3);
  });

  test('leaves the newest stretch to the gliding marker', () => {
    const trail = new Trail();
    trail.merge(fixesOf(track));
    expect(trail.segments()).toHaveLength(1);
  });

  test('measures its length on the ground', () => {
    const trail = new Trail();
    trail.merge(fixesOf(track));
    expect(trail.lengthM()).toBeCloseTo((0.002 / 360) * metresPerUnit(fromLonLat(24.94, 60.17).y), 3);
  });
});
