// What the list shows of the store and the crowd: who is on the screen, in the order of names, or how many are where.

import { type Crowd, cellOf } from '../live/crowd';
import type { Bbox } from '../live/messages';
import { type Asset, type Store, stateOf } from '../live/store';
import { paletteIndex } from '../map/palette';
import { type ClusterRow, clusters, type Row, rows } from './state';

const byName = new Intl.Collator(undefined, { numeric: true });

function rowOf(asset: Asset, serverNowMs: number): Row {
  const { id, name, speed_mps, tags = [] } = asset.entry;
  return { id, name, state: stateOf(asset, serverNowMs), colour: paletteIndex(tags), speedMps: speed_mps, fixMs: asset.fixMs, tags };
}

function within([w, s, e, n]: Bbox, lon: number, lat: number): boolean {
  return lat >= s && lat <= n && (w <= e ? lon >= w && lon <= e : lon >= w || lon <= e);
}

/** Who has no name yet is listed when it comes. */
export function list(store: Store, crowd: Crowd, seen: Bbox, serverNowMs: number): void {
  const shown = store.all().filter(({ entry }) => entry.name && within(seen, entry.lon, entry.lat));
  rows.value = shown.map((asset) => rowOf(asset, serverNowMs)).sort((a, b) => byName.compare(a.name, b.name));
  clusters.value = crowd.shown ? clustersOf(crowd, seen) : null;
}

function clustersOf(crowd: Crowd, seen: Bbox): ClusterRow[] {
  const shown = [...crowd.all()].filter(({ lon, lat }) => within(seen, lon, lat));
  return shown.sort((a, b) => b.count - a.count).map(({ id, count, lon, lat }) => ({ id, count, lon, lat, box: cellOf(id) }));
}
