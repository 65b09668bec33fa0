// Small pictures that the map puts on places, drawn here: there is no sprite to fetch. What they say is in their shape;
// the colour only repeats it.

import type { AddLayerObject, Map as MapLibre } from 'maplibre-gl';
import type { Theme } from './style';

const SIZE_PX = 22;
const RATIO = 2;

interface Ink {
  in: string;
  out: string;
  unsure: string;
  unseen: string;
  stop: string;
  paper: string;
  dot: string;
}

const INKS: Record<Theme, Ink> = {
  light: { in: '#086b50', out: '#b3541e', unsure: '#5c4a00', unseen: '#566172', stop: '#1a4fb4', paper: '#ffffff', dot: '#d9d4c9' },
  dark: { in: '#3ecf9f', out: '#ff9d68', unsure: '#ffd257', unseen: '#a9b5c3', stop: '#8fbaff', paper: '#10151b', dot: '#333d49' },
};

type Draw = (pen: CanvasRenderingContext2D, ink: Ink) => void;

function path(pen: CanvasRenderingContext2D, stroke: string, fill: string, shape: () => void): void {
  pen.beginPath();
  shape();
  pen.closePath();
  pen.lineWidth = 6;
  pen.strokeStyle = fill;
  pen.stroke();
  pen.fillStyle = fill;
  pen.fill();
  pen.lineWidth = 2.4;
  pen.strokeStyle = stroke;
  pen.stroke();
}

/** In a square of 22 by 22. Each has a rim in the colour of the paper, so that it stands out on any ground. */
const MARKS: Record<string, Draw> = {
  'fix-in': (pen, ink) => {
    path(pen, ink.paper, ink.paper, () => pen.arc(11, 11, 7, 0, 7));
    path(pen, ink.in, ink.in, () => pen.arc(11, 11, 4, 0, 7));
  },
  'fix-out': (pen, ink) => path(pen, ink.out, ink.paper, () => pen.rect(6.5, 6.5, 9, 9)),
  'fix-unsure': (pen, ink) =>
    path(pen, ink.unsure, ink.paper, () => {
      pen.moveTo(11, 4.5);
      pen.lineTo(17.5, 16);
      pen.lineTo(4.5, 16);
    }),
  'fix-unseen': (pen, ink) => {
    for (const [colour, width] of [[ink.paper, 6], [ink.unseen, 2.2]] as const) {
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.stroke(new Path2D('M6.500 6.500 15.500 15.500M15.500 6.500 6.500 15.500'));
    }
  },
  crossing: (pen, ink) =>
    path(pen, ink.paper, ink.stop, () => {
      pen.moveTo(11, 4);
      pen.lineTo(18, 11);
      pen.lineTo(11, 18);
      pen.lineTo(4, 11);
    }),
  stop: (pen, ink) => {
    path(pen, ink.paper, ink.stop, () => pen.roundRect(4, 4, 14, 14, 4));
    pen.strokeStyle = ink.paper;
    pen.lineWidth = 2.4;
    pen.stroke(new Path2D('M8.700 8V14M13.300 8V14'));
  },
};

/** Land without streets: dots, so that one sees it move and how fast. */
const GRID = 'grid';
const MARKS_AND_GRID: Record<string, Draw> = {
  ...MARKS,
  [GRID]: (pen, ink) => {
    pen.fillStyle = ink.dot;
    pen.fillRect(10, 10, 2, 2);
  },
};

/** Beneath the streets, where the base map has some. */
export function gridLayer(): AddLayerObject {
  return { id: 'grid', type: 'fill', source: 'world', 'source-layer': 'land', minzoom: 11, paint: { 'fill-pattern': GRID, 'fill-antialias': false } };
}

function image(draw: Draw, ink: Ink): ImageData {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIZE_PX * RATIO;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  if (!pen) throw new Error('This browser draws no pictures.');
  pen.scale(RATIO, RATIO);
  pen.lineJoin = pen.lineCap = 'round';
  draw(pen, ink);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

/** Once the style is there, and again for another theme. */
export function putMarks(map: MapLibre, theme: Theme): void {
  for (const [name, draw] of Object.entries(MARKS_AND_GRID)) {
    const made = image(draw, INKS[theme]);
    if (map.hasImage(name)) map.updateImage(name, made);
    else map.addImage(name, made, { pixelRatio: RATIO });
  }
}
