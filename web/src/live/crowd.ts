// The clusters of a view that holds too many assets to show one by one. Each stands in a cell of the map, which names it.

import { fromLonLat, type Point, toLonLat } from '../lib/mercator';
import type { Bbox, Cluster } from './messages';

/** Neighbours whose assets meet at a common border stand at least half a cell apart. */
const FROM_BORDER = 0.25;

export interface Placed extends Cluster {
  /** Where it is drawn: the middle of its assets, unless that is at the border of its cell. */
  point: Point;
}

export class Crowd {
  readonly #cells = new Map<string, Placed>();
  /** Whether the view shows clusters, be they none. */
  shown = false;
  /** Grows with every change. */
  version = 0;

  /** A snapshot is the whole truth; null: the view shows assets. */
  snapshot(clusters: readonly Cluster[] | null): void {
    this.#cells.clear();
    this.shown = clusters !== null;
    this.update(clusters ?? []);
  }

  /** A count of 0: the cell is empty again. */
  update(clusters: readonly Cluster[]): void {
    for (const each of clusters) {
      if (each.count) this.#cells.set(each.id, { ...each, point: pointOf(each) });
      else this.#cells.delete(each.id);
    }
    this.version += 1;
  }

  all(): Iterable<Placed> {
    return this.#cells.values();
  }

  get(id: string): Placed | undefined {
    return this.#cells.get(id);
  }
}

function parts(id: string): { column: number; row: number; side: number } {
  const [level = 0, column = 0, row = 0] = id.split('/').map(Number);
  return { column, row, side: 2 ** -level };
}

function pointOf({ id, lon, lat }: Cluster): Point {
  const { column, row, side } = parts(id);
  const { x, y } = fromLonLat(lon, lat);
  const inner = (value: number, cell: number) => Math.min(Math.max(value, (cell + FROM_BORDER) * side), (cell + 1 - FROM_BORDER) * side);
  return { x: inner(x, column), y: inner(y, row) };
}

/** The box of the cell that a cluster stands in. */
export function cellOf(id: string): Bbox {
  const { column, row, side } = parts(id);
  const [west, north] = toLonLat({ x: column * side, y: row * side });
  const [east, south] = toLonLat({ x: (column + 1) * side, y: (row + 1) * side });
  return [west, south, east, north];
}

/** "850", "1.2k", "34k", "1.2M": what fits into a bubble. */
export function brief(count: number): string {
  if (count < 1_000) return String(count);
  const [value, unit] = count < 999_500 ? [count / 1_000, 'k'] : [count / 1_000_000, 'M'];
  return `${value < 9.95 ? Number(value.toFixed(1)) : Math.round(value)}${unit}`;
}
