// The map's view as plain numbers, so that markers, labels and picking project without asking the map.
// The map is kept flat: a mercator plane, turned and scaled, is all there is to compute.

import { fromLonLat, type Point } from '../lib/mercator';

export interface Camera {
  center: Point;
  /** Pixels for one unit of the mercator square. */
  scale: number;
  cos: number;
  sin: number;
  width: number;
  height: number;
  /** Where on the screen the centre lies: off the middle when panels cover a side. */
  originX: number;
  originY: number;
}

export interface View {
  getCenter(): { lng: number; lat: number };
  getZoom(): number;
  getBearing(): number;
  getPadding(): { top?: number; bottom?: number; left?: number; right?: number };
  getContainer(): { clientWidth: number; clientHeight: number };
}

const TILE_PX = 512;

export function cameraOf(view: View): Camera {
  const { lng, lat } = view.getCenter();
  const turn = (-view.getBearing() * Math.PI) / 180;
  const { clientWidth: width, clientHeight: height } = view.getContainer();
  const { top = 0, bottom = 0, left = 0, right = 0 } = view.getPadding();
  return {
    center: fromLonLat(lng, lat),
    scale: TILE_PX * 2 ** view.getZoom(),
    cos: Math.cos(turn),
    sin: Math.sin(turn),
    width,
    height,
    originX: (width + left - right) / 2,
    originY: (height + top - bottom) / 2,
  };
}

/** Screen pixels of a place, in the copy of the world nearest to the centre. */
export function project(camera: Camera, { x, y }: Point): [number, number] {
  const nearX = x - Math.round(x - camera.center.x);
  const dx = (nearX - camera.center.x) * camera.scale;
  const dy = (y - camera.center.y) * camera.scale;
  return [camera.originX + dx * camera.cos - dy * camera.sin, camera.originY + dx * camera.sin + dy * camera.cos];
}

/** Which copies of the world can be seen: 0 is the one with the centre. */
export function copies(camera: Camera): number[] {
  const reach = Math.hypot(camera.width, camera.height) / camera.scale;
  const from = Math.floor(camera.center.x - reach);
  const to = Math.floor(camera.center.x + reach);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
