// The layers that streets.py writes, and from which zoom each is worth its bytes.
const TO = 14;

/** @type {{name: string, from: number, to: number, tolerance?: number, buffer?: number}[]} */
export const LAYERS = [
  { name: 'extent', from: 10, to: TO },
  { name: 'fade', from: 12, to: TO, tolerance: 0.5 },
  { name: 'water', from: 10, to: TO, tolerance: 1 },
  { name: 'green', from: 12, to: TO, tolerance: 1 },
  { name: 'paved', from: 13, to: TO, tolerance: 1 },
  { name: 'building', from: 13, to: TO, tolerance: 0.5 },
  { name: 'street', from: 11, to: TO, tolerance: 1, buffer: 128 },
  { name: 'rail', from: 11, to: TO, tolerance: 1, buffer: 128 },
  { name: 'place', from: 13, to: TO },
];
