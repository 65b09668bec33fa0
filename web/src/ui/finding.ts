// Looking for somebody by words: the server finds them, wherever they are, and tells of the first few. It is asked when
// the typing pauses, and an answer counts only while its words are still those that are looked for.

import * as api from '../lib/api';
import { paletteIndex } from '../map/palette';
import { type Found, found, type Row, searched } from './state';

const PAUSE_MS = 180;
const ASSETS = 50;
const GEOFENCES = 5;

let due = 0;

function rowOf({ id, name, tags = [], connection }: api.AssetDetail): Row {
  const heard = connection?.last_heard_at;
  return { id, name, tags, state: 'still', contact: connection?.state ?? 'never', colour: paletteIndex(tags), speedMps: null, fixMs: heard ? Date.parse(heard) : null };
}

async function ask(words: string): Promise<Found> {
  const [assets, fences] = await Promise.all([api.searchAssets(words, ASSETS), api.searchGeofences(words, GEOFENCES)]);
  return { words, rows: assets.items.map(rowOf), more: assets.more, fences: fences.items, moreFences: fences.more };
}

export function search(failed: (error: unknown) => void): void {
  clearTimeout(due);
  const words = searched.value;
  if (!words || found.value?.words === words) return;
  due = window.setTimeout(() => {
    ask(words).then((answer) => {
      if (searched.value === words) found.value = answer;
    }, failed);
  }, PAUSE_MS);
}
