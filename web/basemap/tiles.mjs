// Cuts GeoJSON layers into gzipped vector tiles. A layer may stand for some zoom levels only.
import { GeoJSONVT } from '@maplibre/geojson-vt';
import { fromGeojsonVt } from '@maplibre/vt-pbf';
import { gzipSync } from 'node:zlib';

/** Every tile that holds something; a tile left empty by simplification may still have children that are not. */
function* descend(index, to, z, x, y) {
  const tile = index.getTile(z, x, y);
  if (!tile) return;
  yield { z, x, y, tile };
  if (z === to) return;
  for (const [dx, dy] of [[0, 0], [1, 0], [0, 1], [1, 1]]) yield* descend(index, to, z + 1, 2 * x + dx, 2 * y + dy);
}

/**
 * @typedef {{name: string, features: object[], from: number, to: number, tolerance?: number, buffer?: number}} Layer
 * @param {Layer[]} layers several may share a name if their zoom ranges are apart
 * @returns {{z: number, x: number, y: number, data: Buffer}[]}
 */
export function cut(layers) {
  /** @type {Map<string, {z: number, x: number, y: number, layers: Record<string, object>}>} */
  const tiles = new Map();
  for (const layer of layers) {
    const index = new GeoJSONVT(
      { type: 'FeatureCollection', features: layer.features },
      {
        maxZoom: layer.to,
        indexMaxZoom: layer.to,
        indexMaxPoints: 0,
        tolerance: layer.tolerance ?? 3,
        buffer: layer.buffer ?? 64,
      },
    );
    for (const { z, x, y, tile } of descend(index, layer.to, 0, 0, 0)) {
      if (z < layer.from || !tile.features.length) continue;
      const key = `${z}/${x}/${y}`;
      if (!tiles.has(key)) tiles.set(key, { z, x, y, layers: {} });
      tiles.get(key).layers[layer.name] = tile;
    }
  }
  return [...tiles.values()].map(({ z, x, y, layers: content }) => ({
    z,
    x,
    y,
    data: gzipSync(fromGeojsonVt(content, { version: 2, extent: 4096 }), { level: 9 }),
  }));
}
