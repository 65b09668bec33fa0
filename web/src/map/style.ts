// What the base map looks like, by day and by night. Layers differ only in paint, so a theme is switched without a reload.

import type { LayerSpecification, StyleSpecification } from 'maplibre-gl';

export type Theme = 'light' | 'dark';
/** The sources that the server makes from what it knows. */
export type Ours = 'geofences' | 'way' | 'density';

export interface Basemap {
  world: string;
  streets: string[];
}

const LIGHT = {
  water: '#c5dbe8',
  land: '#f5f3ee',
  coast: '#a9c4d3',
  boundary: '#bdb8c4',
  green: '#dbe9d0',
  paved: '#ebe7df',
  building: '#e4dfd6',
  buildingLine: '#d3ccc0',
  major: '#ffe9b0',
  medium: '#ffffff',
  minor: '#ffffff',
  walk: '#fbf9f5',
  casing: '#d8d1c4',
  path: '#cfc6b6',
  rail: '#b9b4bd',
  label: '#5c6673',
  place: '#39424e',
  country: '#6d7280',
  park: '#5b8055',
  stop: '#7b8794',
  halo: 'rgba(255,255,255,0.9)',
  fence: '#7a4fd0',
  fenceFill: 'rgba(122,79,208,0.09)',
  fenceLabel: '#5f38ae',
  doubt: '#6b7480',
  wayLabel: '#1a4fb4',
};

const DARK: typeof LIGHT = {
  water: '#10233a',
  land: '#1d242d',
  coast: '#4a6178',
  boundary: '#6a7585',
  green: '#1e3629',
  paved: '#262e38',
  building: '#2b3541',
  buildingLine: '#3b4755',
  major: '#77705c',
  medium: '#56616f',
  minor: '#485360',
  walk: '#35404c',
  casing: '#151a21',
  path: '#4d5967',
  rail: '#626b78',
  label: '#bcc7d3',
  place: '#e2e9f1',
  country: '#a6b1c0',
  park: '#98c79d',
  stop: '#a1adbb',
  halo: 'rgba(18,23,29,0.9)',
  fence: '#b08cff',
  fenceFill: 'rgba(176,140,255,0.11)',
  fenceLabel: '#cdb6ff',
  doubt: '#98a3b1',
  wayLabel: '#a9cbff',
};

// No glyphs are served: the browser's own fonts draw the text. The weight is read from the first name, which no font has.
const FONT = ['Map Regular', 'system-ui'];
export const BOLD = ['Map Bold', 'system-ui'];

type Stops = [number, number][];
export const byZoom = (stops: Stops, base = 1): any => ['interpolate', ['exponential', base], ['zoom'], ...stops.flat()];

function worldLayers(c: typeof LIGHT): LayerSpecification[] {
  // The world is drawn to zoom 6: at street level its coast is a guess, and steps back.
  const coast = { 'line-color': c.coast, 'line-width': byZoom([[0, 0.4], [6, 1], [12, 1.4]]), 'line-opacity': byZoom([[10, 1], [12, 0.3]]) };
  return [
    { id: 'water', type: 'background', paint: { 'background-color': c.water } },
    { id: 'land', type: 'fill', source: 'world', 'source-layer': 'land', paint: { 'fill-color': c.land, 'fill-antialias': false } },
    { id: 'coast', type: 'line', source: 'world', 'source-layer': 'coast', maxzoom: 4, paint: coast },
    { id: 'shore', type: 'line', source: 'world', 'source-layer': 'land', minzoom: 4, paint: coast },
    {
      id: 'boundary',
      type: 'line',
      source: 'world',
      'source-layer': 'boundary',
      layout: { 'line-join': 'round' },
      paint: { 'line-color': c.boundary, 'line-width': byZoom([[0, 0.4], [4, 0.9], [10, 2]]), 'line-dasharray': [3, 1.5] },
    },
  ];
}

const WIDTHS: Record<string, Stops> = {
  major: [[11, 1], [14, 4.5], [16, 11], [19, 48]],
  medium: [[11, 0.6], [14, 3.2], [16, 8.5], [19, 40]],
  minor: [[12, 0.4], [14, 2], [16, 6.5], [19, 32]],
  walk: [[13, 0.5], [16, 4], [19, 18]],
  service: [[13, 0.3], [16, 2.6], [19, 14]],
};
const ORDER = ['service', 'walk', 'minor', 'medium', 'major'] as const;

const FADE: any = byZoom([[12, 0], [13.2, 1]]);

function streetLayers(source: string, n: number, c: typeof LIGHT): LayerSpecification[] {
  const from = { source, minzoom: 11 };
  const id = (name: string) => `${name}-${n}`;
  const kind = (name: string): any => ['all', ['==', ['get', 'class'], name], ['!', ['has', 'tunnel']]];
  const round = { 'line-join': 'round', 'line-cap': 'round' } as const;
  const street = (name: (typeof ORDER)[number], casing: boolean): LayerSpecification => ({
    id: id(`${casing ? 'casing' : 'street'}-${name}`),
    type: 'line',
    ...from,
    'source-layer': 'street',
    filter: kind(name),
    layout: round,
    paint: casing
      ? { 'line-color': c.casing, 'line-opacity': FADE, 'line-width': byZoom((WIDTHS[name] ?? []).map(([z, w]) => [z, w + (z > 14 ? 2 : 1)]), 1.4) }
      : { 'line-color': name === 'service' ? c.minor : c[name], 'line-opacity': FADE, 'line-width': byZoom(WIDTHS[name] ?? [], 1.4) },
  });
  return [
    { id: id('extent'), type: 'fill', ...from, 'source-layer': 'extent', paint: { 'fill-color': c.land, 'fill-opacity': FADE, 'fill-antialias': false } },
    { id: id('green'), type: 'fill', ...from, 'source-layer': 'green', paint: { 'fill-color': c.green, 'fill-opacity': FADE } },
    { id: id('paved'), type: 'fill', ...from, 'source-layer': 'paved', paint: { 'fill-color': c.paved, 'fill-opacity': FADE } },
    { id: id('water'), type: 'fill', ...from, 'source-layer': 'water', paint: { 'fill-color': c.water, 'fill-opacity': FADE } },
    {
      id: id('path'),
      type: 'line',
      ...from,
      minzoom: 14.5,
      'source-layer': 'street',
      filter: kind('path'),
      paint: { 'line-color': c.path, 'line-width': byZoom([[14, 0.5], [18, 2]]), 'line-dasharray': [2, 1.5] },
    },
    ...ORDER.map((name) => street(name, true)),
    ...ORDER.map((name) => street(name, false)),
    {
      id: id('rail'),
      type: 'line',
      ...from,
      'source-layer': 'rail',
      paint: {
        'line-color': c.rail,
        'line-opacity': FADE,
        'line-width': byZoom([[12, 0.5], [16, 1.2], [19, 3]]),
      },
    },
    {
      id: id('building'),
      type: 'fill',
      ...from,
      minzoom: 13,
      'source-layer': 'building',
      paint: { 'fill-color': c.building, 'fill-outline-color': c.buildingLine, 'fill-opacity': byZoom([[13, 0], [14, 1]]) },
    },
    { id: id('fade'), type: 'fill', ...from, 'source-layer': 'fade', paint: { 'fill-color': c.land, 'fill-opacity': 0.32, 'fill-antialias': false } },
  ];
}

function text(color: string, halo: string, width = 1.4): any {
  return { 'text-color': color, 'text-halo-color': halo, 'text-halo-width': width };
}

function streetLabels(source: string, n: number, c: typeof LIGHT): LayerSpecification[] {
  const place = (name: string, kinds: string[], minzoom: number, color: string, size: number): LayerSpecification => ({
    id: `label-${name}-${n}`,
    type: 'symbol',
    source,
    'source-layer': 'place',
    minzoom,
    filter: ['in', ['get', 'class'], ['literal', kinds]],
    layout: { 'text-field': ['get', 'name'], 'text-font': FONT, 'text-size': size, 'text-max-width': 8, 'text-padding': 6 },
    paint: text(color, c.halo),
  });
  return [
    {
      id: `label-street-${n}`,
      type: 'symbol',
      source,
      'source-layer': 'street',
      minzoom: 13.5,
      filter: ['all', ['has', 'name'], ['step', ['zoom'], ['in', ['get', 'class'], ['literal', ['major', 'medium']]], 14.6, true]],
      layout: {
        'symbol-placement': 'line',
        'text-field': ['get', 'name'],
        'text-font': FONT,
        'text-size': byZoom([[14, 10], [16, 12], [19, 15]]),
        'text-padding': 4,
        'symbol-spacing': 320,
        'text-max-angle': 30,
      },
      paint: text(c.label, c.halo),
    },
    place('park', ['park'], 14.5, c.park, 11.5),
    place('station', ['station'], 14, c.place, 11.5),
    place('site', ['site'], 16, c.label, 11),
    place('stop', ['stop'], 16.5, c.stop, 10.5),
  ];
}

function worldLabels(c: typeof LIGHT): LayerSpecification[] {
  return [
    {
      id: 'label-city',
      type: 'symbol',
      source: 'world',
      'source-layer': 'city',
      minzoom: 2.5,
      maxzoom: 13.5,
      layout: {
        'text-field': ['get', 'name'],
        'text-font': ['case', ['has', 'capital'], ['literal', BOLD], ['literal', FONT]] as any,
        'text-size': ['interpolate', ['linear'], ['zoom'], 3, ['interpolate', ['linear'], ['log10', ['get', 'population']], 5, 9.5, 7, 12.5], 10, ['interpolate', ['linear'], ['log10', ['get', 'population']], 4, 11, 6, 17]],
        'symbol-sort-key': ['-', ['get', 'population']],
        'text-padding': 4,
        'text-max-width': 7,
      },
      paint: text(c.place, c.halo),
    },
    {
      id: 'label-country',
      type: 'symbol',
      source: 'world',
      'source-layer': 'country',
      maxzoom: 7,
      filter: ['>', ['get', 'area'], ['step', ['zoom'], 250, 1.6, 60, 2.5, 20, 3.2, 6, 4, 1, 5, 0]],
      layout: {
        'text-field': ['get', 'name'],
        'text-font': FONT,
        'text-transform': 'uppercase',
        'text-letter-spacing': 0.1,
        'text-size': byZoom([[1, 9], [4, 12], [6, 14]]),
        'symbol-sort-key': ['-', ['get', 'area']],
        'text-max-width': 7,
        'text-padding': 6,
      },
      paint: text(c.country, c.halo, 1.2),
    },
  ];
}

function fenceLayers(c: typeof LIGHT): LayerSpecification[] {
  const from = { source: 'geofences', 'source-layer': 'geofences' };
  return [
    { id: 'fence-fill', type: 'fill', ...from, paint: { 'fill-color': c.fenceFill, 'fill-antialias': false } },
    {
      id: 'fence-chosen',
      type: 'line',
      ...from,
      filter: ['==', ['get', 'id'], ''],
      layout: { 'line-join': 'round' },
      paint: { 'line-color': c.fence, 'line-width': 5, 'line-opacity': 0.45 },
    },
    {
      id: 'fence-line',
      type: 'line',
      ...from,
      layout: { 'line-join': 'round' },
      paint: { 'line-color': c.fence, 'line-width': byZoom([[4, 1], [14, 1.8]]), 'line-opacity': 0.9 },
    },
  ];
}

function doubtLayers(c: typeof LIGHT): LayerSpecification[] {
  return [
    {
      id: 'doubt',
      type: 'circle',
      source: 'doubts',
      paint: { 'circle-radius': 4.5, 'circle-color': c.halo, 'circle-opacity': 0.75, 'circle-stroke-color': c.doubt, 'circle-stroke-width': 2 },
    },
  ];
}

function stopLayers(c: typeof LIGHT): LayerSpecification[] {
  return [
    {
      id: 'day-stop',
      type: 'symbol',
      source: 'day',
      layout: {
        'icon-image': 'stop',
        'icon-allow-overlap': true,
        'text-field': ['get', 'words'],
        'text-font': BOLD,
        'text-size': 11.5,
        'text-anchor': 'left',
        'text-offset': [0.95, 0],
        'text-optional': true,
        'symbol-sort-key': ['-', ['get', 'lasted']],
      },
      paint: text(c.wayLabel, c.halo, 1.6),
    },
  ];
}

function whyLayers(c: typeof LIGHT): LayerSpecification[] {
  return [
    {
      id: 'why-line',
      type: 'line',
      source: 'why',
      filter: ['==', ['geometry-type'], 'LineString'],
      layout: { 'line-join': 'round', 'line-cap': 'round' },
      paint: { 'line-color': c.wayLabel, 'line-width': 1.6, 'line-dasharray': [1.5, 2] },
    },
    {
      id: 'why-ring',
      type: 'circle',
      source: 'why',
      filter: ['==', ['get', 'ring'], true],
      paint: { 'circle-radius': 13, 'circle-color': c.halo, 'circle-stroke-color': c.wayLabel, 'circle-stroke-width': 2 },
    },
    {
      id: 'why-fix',
      type: 'symbol',
      source: 'why',
      filter: ['==', ['geometry-type'], 'Point'],
      layout: { 'icon-image': ['get', 'mark'], 'icon-allow-overlap': true, 'icon-ignore-placement': true, 'symbol-sort-key': ['coalesce', ['get', 'order'], 0] },
      paint: {},
    },
  ];
}

function fenceLabels(c: typeof LIGHT): LayerSpecification[] {
  return [
    {
      id: 'fence-label',
      type: 'symbol',
      source: 'geofences',
      'source-layer': 'geofence_names',
      layout: { 'text-field': ['get', 'name'], 'text-font': BOLD, 'text-size': byZoom([[8, 10.5], [15, 12.5]]), 'text-max-width': 12, 'text-anchor': 'bottom', 'text-offset': [0, -0.25], 'text-padding': 4 },
      paint: text(c.fenceLabel, c.halo, 1.5),
    },
  ];
}

export function layers(theme: Theme, basemap: Basemap): LayerSpecification[] {
  const c = theme === 'dark' ? DARK : LIGHT;
  return [
    ...worldLayers(c),
    ...basemap.streets.flatMap((_, n) => streetLayers(`streets-${n}`, n, c)),
    ...fenceLayers(c),
    ...worldLabels(c),
    ...basemap.streets.flatMap((_, n) => streetLabels(`streets-${n}`, n, c)),
    ...fenceLabels(c),
    ...stopLayers(c),
    ...doubtLayers(c),
    ...whyLayers(c),
  ];
}

/** The server makes them to this zoom, and the map comes no nearer. */
export const FINEST = 19;

/** Where the server's own tiles are; what they show is in the query. */
export const tilesOf = (query: string): string => `${location.origin}/v1/tiles/{z}/{x}/{y}.mvt?layer=${query}`;

export function style(theme: Theme, basemap: Basemap): StyleSpecification {
  const archive = (url: string) => ({ type: 'vector' as const, url: `pmtiles://${new URL(url, location.href)}` });
  const empty = { type: 'geojson' as const, data: { type: 'FeatureCollection' as const, features: [] } };
  return {
    version: 8,
    sources: {
      world: archive(basemap.world),
      ...Object.fromEntries(basemap.streets.map((url, n) => [`streets-${n}`, archive(url)])),
      geofences: { type: 'vector', tiles: [tilesOf('geofences')], maxzoom: FINEST },
      doubts: empty,
      day: empty,
      why: empty,
    },
    layers: layers(theme, basemap),
  };
}
