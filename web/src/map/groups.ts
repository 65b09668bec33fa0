// Assets that stand on top of each other at this zoom become one bubble with their number. Pure: places in, groups out.
// The server sends clusters when there are very many; this is for those that would hide one another.

import type { Point } from '../lib/mercator';
import { type Camera, project } from './camera';

export interface Placed {
  id: string;
  point: Point;
}

export interface Group {
  /** The group's oldest member names it, so that it stays the same element from frame to frame. */
  id: string;
  members: string[];
  x: number;
  y: number;
  west: number;
  north: number;
  east: number;
  south: number;
}

const REACH_PX = 40;
const LEAST = 3;
/** Nearer than this, standing close is what there is to see. */
export const GROUPED_BELOW_SCALE = 512 * 2 ** 12.5;

function open({ id, point }: Placed, x: number, y: number): Group {
  return { id, members: [id], x, y, west: point.x, east: point.x, north: point.y, south: point.y };
}

function join(group: Group, { id, point }: Placed): void {
  group.members.push(id);
  group.west = Math.min(group.west, point.x);
  group.east = Math.max(group.east, point.x);
  group.north = Math.min(group.north, point.y);
  group.south = Math.max(group.south, point.y);
}

export function groups(camera: Camera, placed: Iterable<Placed>): Group[] {
  if (camera.scale >= GROUPED_BELOW_SCALE) return [];
  const cells = new Map<number, Group[]>();
  const found: Group[] = [];
  for (const each of placed) {
    const [x, y] = project(camera, each.point);
    if (x < -REACH_PX || y < -REACH_PX || x > camera.width + REACH_PX || y > camera.height + REACH_PX) continue;
    const column = Math.floor(x / REACH_PX);
    const row = Math.floor(y / REACH_PX);
    const near = nearest(cells, column, row, x, y);
    if (near) {
      join(near, each);
      continue;
    }
    const group = open(each, x, y);
    found.push(group);
    const there = cells.get(keyOf(column, row));
    if (there) there.push(group);
    else cells.set(keyOf(column, row), [group]);
  }
  return found.filter((group) => group.members.length >= LEAST);
}

/** Columns of a screen are fewer than this by far. */
const keyOf = (column: number, row: number): number => row * 65_536 + column;

function nearest(cells: Map<number, Group[]>, column: number, row: number, x: number, y: number): Group | undefined {
  for (let dx = -1; dx <= 1; dx += 1) {
    for (let dy = -1; dy <= 1; dy += 1) {
      const hit = cells.get(keyOf(column + dx, row + dy))?.find((group) => Math.hypot(group.x - x, group.y - y) < REACH_PX);
      if (hit) return hit;
    }
  }
  return undefined;
}
