// The web mercator square: x to the east and y to the south, each 0 to 1. All motion on the map is computed in it.

export const EARTH_CIRCUMFERENCE_M = 40_075_016.685_578_5;
const MAX_LAT = 85.051_128_779_806_59;

export interface Point {
  x: number;
  y: number;
}

export function fromLonLat(lon: number, lat: number): Point {
  const clamped = Math.max(-MAX_LAT, Math.min(MAX_LAT, lat));
  const phi = (clamped * Math.PI) / 180;
  return { x: lon / 360 + 0.5, y: 0.5 - Math.log(Math.tan(Math.PI / 4 + phi / 2)) / (2 * Math.PI) };
}

export function toLonLat({ x, y }: Point): [number, number] {
  const lat = (360 / Math.PI) * Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) - 90;
  return [(x - 0.5) * 360, lat];
}

/** Metres on the ground for one unit of the square, at row y. */
export function metresPerUnit(y: number): number {
  return EARTH_CIRCUMFERENCE_M / Math.cosh((0.5 - y) * 2 * Math.PI);
}

/** The same place in the copy of the world that lies nearest to `near`. */
export function unwrap(x: number, near: number): number {
  return x - Math.round(x - near);
}
