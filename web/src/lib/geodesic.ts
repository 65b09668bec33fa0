// The shortest way over the WGS84 ellipsoid (Vincenty 1975): where one gets to, and how to get there. Pure.
//
// Exact to less than a millimetre, except between places that are almost opposite each other, where the inverse does
// not settle; a leg of a corridor is never that long.

import type { Position } from 'geojson';

const A = 6_378_137;
const F = 1 / 298.257_223_563;
const B = A * (1 - F);
const RAD = Math.PI / 180;
const ENOUGH = 1e-12;
const TRIES = 200;

/** Vincenty's A and B, by which an arc on the auxiliary sphere becomes a length. */
function series(cosSqAlpha: number): [number, number] {
  const u = (cosSqAlpha * (A * A - B * B)) / (B * B);
  return [1 + (u / 16_384) * (4_096 + u * (-768 + u * (320 - 175 * u))), (u / 1_024) * (256 + u * (-128 + u * (74 - 47 * u)))];
}

function correction(b: number, sinS: number, cosS: number, cosM: number): number {
  const inner = cosS * (2 * cosM * cosM - 1) - (b / 6) * cosM * (4 * sinS * sinS - 3) * (4 * cosM * cosM - 3);
  return b * sinS * (cosM + (b / 4) * inner);
}

/** How much the longitude differs from that on the auxiliary sphere. */
function bend(sinAlpha: number, cosSqAlpha: number, s: number, sinS: number, cosS: number, cosM: number): number {
  const c = (F / 16) * cosSqAlpha * (4 + F * (4 - 3 * cosSqAlpha));
  return (1 - c) * F * sinAlpha * (s + c * sinS * (cosM + c * cosS * (2 * cosM * cosM - 1)));
}

/** Longitudes go on beyond ±180, so that a way stays in one piece. */
export function destination([lon = 0, lat = 0]: Position, distanceM: number, bearingRad: number): Position {
  const u1 = Math.atan((1 - F) * Math.tan(lat * RAD));
  const [sinU, cosU, sinB, cosB] = [Math.sin(u1), Math.cos(u1), Math.sin(bearingRad), Math.cos(bearingRad)];
  const s1 = Math.atan2(sinU, cosU * cosB);
  const sinAlpha = cosU * sinB;
  const cosSqAlpha = 1 - sinAlpha * sinAlpha;
  const [a, b] = series(cosSqAlpha);
  const start = distanceM / (B * a);
  let s = start;
  for (let i = 0; i < TRIES; i += 1) {
    const before = s;
    s = start + correction(b, Math.sin(s), Math.cos(s), Math.cos(2 * s1 + s));
    if (Math.abs(s - before) < ENOUGH) break;
  }
  const [sinS, cosS, cosM] = [Math.sin(s), Math.cos(s), Math.cos(2 * s1 + s)];
  const x = sinU * sinS - cosU * cosS * cosB;
  const phi = Math.atan2(sinU * cosS + cosU * sinS * cosB, (1 - F) * Math.hypot(sinAlpha, x));
  const lambda = Math.atan2(sinS * sinB, cosU * cosS - sinU * sinS * cosB);
  return [lon + (lambda - bend(sinAlpha, cosSqAlpha, s, sinS, cosS, cosM)) / RAD, phi / RAD];
}

/** How far, and in which direction one sets out. */
export function inverse([lon1 = 0, lat1 = 0]: Position, [lon2 = 0, lat2 = 0]: Position): { distanceM: number; bearingRad: number } {
  const [u1, u2] = [Math.atan((1 - F) * Math.tan(lat1 * RAD)), Math.atan((1 - F) * Math.tan(lat2 * RAD))];
  const [sin1, cos1, sin2, cos2] = [Math.sin(u1), Math.cos(u1), Math.sin(u2), Math.cos(u2)];
  const l = (((lon2 - lon1 + 540) % 360) - 180) * RAD;
  let lambda = l;
  for (let i = 0; i < TRIES; i += 1) {
    const east = cos2 * Math.sin(lambda);
    const north = cos1 * sin2 - sin1 * cos2 * Math.cos(lambda);
    const sinS = Math.hypot(east, north);
    if (sinS === 0) return { distanceM: 0, bearingRad: 0 };
    const cosS = sin1 * sin2 + cos1 * cos2 * Math.cos(lambda);
    const s = Math.atan2(sinS, cosS);
    const sinAlpha = (cos1 * cos2 * Math.sin(lambda)) / sinS;
    const cosSqAlpha = 1 - sinAlpha * sinAlpha;
    const cosM = cosSqAlpha === 0 ? 0 : cosS - (2 * sin1 * sin2) / cosSqAlpha;
    const before = lambda;
    lambda = l + bend(sinAlpha, cosSqAlpha, s, sinS, cosS, cosM);
    if (Math.abs(lambda - before) > ENOUGH && i < TRIES - 1) continue;
    const [a, b] = series(cosSqAlpha);
    const bearingRad = Math.atan2(cos2 * Math.sin(lambda), cos1 * sin2 - sin1 * cos2 * Math.cos(lambda));
    return { distanceM: B * a * (s - correction(b, sinS, cosS, cosM)), bearingRad };
  }
  return { distanceM: Number.NaN, bearingRad: 0 };
}

/** The places of a path with more in between, so that each leg drawn straight on the map is the geodesic to the eye. */
export function along(path: readonly Position[], stepM: number): Position[] {
  const out: Position[] = path.slice(0, 1).map((position) => [...position]);
  for (const to of path.slice(1)) {
    const from = out.at(-1) as Position;
    const { distanceM, bearingRad } = inverse(from, to);
    const parts = Math.max(1, Math.ceil(distanceM / stepM));
    for (let i = 1; i < parts; i += 1) out.push(destination(from, (distanceM * i) / parts, bearingRad));
    // The last place as it was given, in the copy of the world in which the way arrives.
    const near = out.at(-1)?.[0] ?? 0;
    out.push([(to[0] ?? 0) - 360 * Math.round(((to[0] ?? 0) - near) / 360), to[1] ?? 0]);
  }
  return out;
}
