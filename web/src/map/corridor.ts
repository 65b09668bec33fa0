// The outline of a corridor: every place not farther than its buffer from its path. Pure.
//
// The distance to the path is computed on a grid over the mercator plane, only where it is near the buffer, and the line
// on which it equals the buffer is traced. So legs that double back, cross, or are shorter than the buffer need no case
// of their own, and holes come by themselves. The outline is off by less than 2 % of the buffer.

import type { MultiPolygon, Position } from 'geojson';
import { along } from '../lib/geodesic';
import { fromLonLat, toLonLat } from '../lib/mercator';

const CELLS_IN_BUFFER = 6;
/** A path much longer than its corridor is wide is drawn with coarser cells, and beyond these as its line alone. */
const MOST_CELLS = 150_000;
const COARSEST_CELLS_IN_BUFFER = 2;
const STEP_M = 50_000;
const KEY = 2 ** 26;

const A = 6_378_137;
const E2 = 0.006_694_379_990_14;

/** Metres for one unit of the mercator square, to the east and to the north, on the ellipsoid. */
function scales(y: number): [number, number] {
  const phi = Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI));
  const w = 1 - E2 * Math.sin(phi) ** 2;
  const east = (2 * Math.PI * A * Math.cos(phi)) / Math.sqrt(w);
  return [east, (east * (1 - E2)) / w];
}

type Spot = readonly [number, number];

function distanceM([px, py]: Spot, [ax, ay]: Spot, [bx, by]: Spot): number {
  const [kx, ky] = scales((py + (ay + by) / 2) / 2);
  const [dx, dy, ex, ey] = [(bx - ax) * kx, (by - ay) * ky, (px - ax) * kx, (py - ay) * ky];
  const length = dx * dx + dy * dy;
  const t = length === 0 ? 0 : Math.max(0, Math.min(1, (ex * dx + ey * dy) / length));
  return Math.hypot(ex - t * dx, ey - t * dy);
}

/** Mercator places of the path, in one piece over the antimeridian. */
function spots(path: readonly Position[]): Spot[] {
  return along(path, STEP_M).map(([lon = 0, lat = 0]) => {
    const { x, y } = fromLonLat(lon, lat);
    return [x, y] as const;
  });
}

function units(bufferM: number, y: number): number {
  return bufferM / Math.min(...scales(y));
}

/** The size of a cell; null if the corridor is too thin for its length. */
function cellOf(line: readonly Spot[], bufferM: number): number | null {
  const narrowest = Math.min(...line.map(([, y]) => units(bufferM, y)));
  const widest = Math.max(...line.map(([, y]) => units(bufferM, y)));
  const length = line.reduce((sum, [x, y], i) => sum + Math.hypot(x - (line[i - 1]?.[0] ?? x), y - (line[i - 1]?.[1] ?? y)), 0);
  const area = 2 * widest * (length + 2 * widest) * 1.5;
  const cell = Math.max(narrowest / CELLS_IN_BUFFER, Math.sqrt(area / MOST_CELLS));
  return cell > narrowest / COARSEST_CELLS_IN_BUFFER ? null : cell;
}

interface Grid {
  cell: number;
  x0: number;
  y0: number;
  /** Metres to the path at corners near it, by corner. */
  field: Map<number, number>;
}

function measure(line: readonly Spot[], bufferM: number, cell: number): Grid {
  const [x0, y0] = [Math.min(...line.map(([x]) => x)), Math.min(...line.map(([, y]) => y))];
  const field = new Map<number, number>();
  const legs: [Spot, Spot][] = line.length > 1 ? line.slice(1).map((to, i) => [line[i] as Spot, to]) : [];
  const margin = 3;
  for (const [from, to] of legs) {
    const reach = Math.max(units(bufferM, from[1]), units(bufferM, to[1])) + margin * cell;
    const rows: Spot = [Math.floor((Math.min(from[1], to[1]) - reach - y0) / cell), Math.ceil((Math.max(from[1], to[1]) + reach - y0) / cell)];
    for (let row = rows[0]; row <= rows[1]; row += 1) {
      const [west, east] = columns(from, to, y0 + row * cell, reach);
      for (let column = Math.floor((west - x0) / cell); column <= Math.ceil((east - x0) / cell); column += 1) {
        const key = (row + KEY / 2) * KEY + column + KEY / 2;
        const found = distanceM([x0 + column * cell, y0 + row * cell], from, to);
        const known = field.get(key);
        if (known === undefined || found < known) field.set(key, found);
      }
    }
  }
  return { cell, x0, y0, field };
}

/** From where to where a leg's surroundings reach on a row: a slanted leg's box would be mostly empty. */
function columns(from: Spot, to: Spot, y: number, reach: number): [number, number] {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const at = (row: number) => (dy === 0 ? null : Math.max(0, Math.min(1, (row - from[1]) / dy)));
  const wide = dy === 0 ? reach : Math.hypot(1, dx / dy) * reach;
  const here = at(y);
  const [low, high] = [Math.min(from[0], to[0]) - reach, Math.max(from[0], to[0]) + reach];
  if (here === null) return [low, high];
  const x = from[0] + dx * here;
  return [Math.max(low, x - wide - reach), Math.min(high, x + wide + reach)];
}

// Marching squares. A cell's corners are 0 1 / 3 2, its edges top, right, bottom, left. Lines keep the inside on one
// side, so that each edge point has one line in and one out; a saddle keeps its insides apart.
const CASES: readonly (readonly (readonly [number, number])[])[] = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];

function trace({ cell, x0, y0, field }: Grid, bufferM: number): Spot[][] {
  const at = (row: number, column: number) => field.get((row + KEY / 2) * KEY + column + KEY / 2) ?? Number.POSITIVE_INFINITY;
  const next = new Map<string, string>();
  const places = new Map<string, Spot>();
  const edge = (row: number, column: number, side: number): string => {
    const [r, c, down] = [side === 2 ? row + 1 : row, side === 1 ? column + 1 : column, side % 2];
    const key = `${r}/${c}/${down}`;
    if (!places.has(key)) {
      const [here, there] = [at(r, c), at(r + down, c + 1 - down)];
      const part = Number.isFinite(here + there) ? (bufferM - here) / (there - here) : 0.5;
      places.set(key, [x0 + (c + (1 - down) * part) * cell, y0 + (r + down * part) * cell]);
    }
    return key;
  };
  for (const key of field.keys()) {
    const [row, column] = [Math.floor(key / KEY) - KEY / 2, (key % KEY) - KEY / 2];
    const corners = [at(row, column), at(row, column + 1), at(row + 1, column + 1), at(row + 1, column)];
    const which = corners.reduce((sum, distance, i) => sum + (distance <= bufferM ? 1 << i : 0), 0);
    for (const [from, to] of CASES[which] ?? []) next.set(edge(row, column, from), edge(row, column, to));
  }
  return rings(next, places);
}

function rings(next: Map<string, string>, places: Map<string, Spot>): Spot[][] {
  const found: Spot[][] = [];
  for (const start of [...next.keys()]) {
    const ring: Spot[] = [];
    for (let key: string | undefined = start; key !== undefined && next.has(key); ) {
      ring.push(places.get(key) as Spot);
      const to: string | undefined = next.get(key);
      next.delete(key);
      key = to;
    }
    if (ring.length > 3) found.push(ring);
  }
  return found;
}

/** Twice the area; negative if the ring keeps what it encloses on the side on which lines keep the inside. */
const turn = (ring: readonly Spot[]): number =>
  ring.reduce((sum, [x, y], i) => {
    const [x2, y2] = ring[(i + 1) % ring.length] as Spot;
    return sum + x * y2 - x2 * y;
  }, 0);

/** Without the places that lie on the line between their neighbours to a part of a cell. */
function thinned(ring: readonly Spot[], least: number): Spot[] {
  const kept: Spot[] = [];
  let skipped: Spot[] = [];
  for (const spot of [...ring, ring[0] as Spot]) {
    const from = kept.at(-1);
    if (from && skipped.length && skipped.some((each) => offLine(each, from, spot) > least)) {
      kept.push(skipped.at(-1) as Spot);
      skipped = [];
    }
    if (from) skipped.push(spot);
    else kept.push(spot);
  }
  return [...kept, ring[0] as Spot];
}

function offLine([px, py]: Spot, [ax, ay]: Spot, [bx, by]: Spot): number {
  const length = Math.hypot(bx - ax, by - ay) || 1;
  return Math.abs((px - ax) * (by - ay) - (py - ay) * (bx - ax)) / length;
}

function holds(ring: readonly Spot[], [x, y]: Spot): boolean {
  return ring.reduce((inside, [x1, y1], i) => {
    const [x2, y2] = ring[(i + 1) % ring.length] as Spot;
    return y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1) ? !inside : inside;
  }, false);
}

/** Null: too thin for its length to be outlined, and drawn as its path. */
export function corridor(path: readonly Position[], bufferM: number): MultiPolygon | null {
  const line = spots(path);
  const cell = cellOf(line, bufferM);
  if (cell === null) return null;
  const all = trace(measure(line, bufferM, cell), bufferM);
  const outer = all.filter((ring) => turn(ring) < 0);
  const inner = all.filter((ring) => turn(ring) > 0);
  const positions = (ring: readonly Spot[]): Position[] => thinned(ring, cell / 40).map(([x, y]) => toLonLat({ x, y }));
  const coordinates = outer.map((ring) => [positions(ring), ...inner.filter((hole) => holds(ring, hole[0] as Spot)).map(positions)]);
  return { type: 'MultiPolygon', coordinates };
}
