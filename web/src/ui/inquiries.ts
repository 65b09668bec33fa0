// What the page asks about the selected asset besides where it is: its way, its day, whether it is heard of. An answer
// counts only while the asset is still the one that is looked at.

import * as api from '../lib/api';
import { ends, midnight } from '../lib/span';
import { askFrom, merged } from '../live/day';
import { type Store, stateOf } from '../live/store';
import { paletteIndex } from '../map/palette';
import type { Scene } from '../map/scene';
import { doubtedOf, fixesOf, TRAIL_MS } from '../map/trail';
import * as ui from './state';

export class Inquiries {
  readonly #store: Store;
  readonly #scene: Scene;
  readonly #serverNow: () => number;

  constructor(store: Store, scene: Scene, serverNow: () => number) {
    this.#store = store;
    this.#scene = scene;
    this.#serverNow = serverNow;
  }

  /** What is known of it now, from memory. */
  showDetail(): void {
    const asset = ui.selected.value === null ? undefined : this.#store.get(ui.selected.value);
    if (!asset) return;
    const { entry, fixMs } = asset;
    const { trail } = this.#scene;
    const speeds = trail.fixes.flatMap((fix): [number, number][] => (fix.speedMps == null ? [] : [[fix.timeMs, fix.speedMps]]));
    ui.detail.value = { entry, fixMs, state: stateOf(asset, this.#serverNow()), colour: paletteIndex(entry.tags) };
    ui.way.value = { lengthM: trail.lengthM(), spanMs: trail.spanMs(), speeds };
  }

  async trail(id: string, spanMs = TRAIL_MS): Promise<void> {
    const to = new Date(this.#serverNow());
    const track = await api.track(id, new Date(to.getTime() - spanMs), to);
    if (ui.selected.value !== id) return;
    this.#scene.showTrail(fixesOf(track), doubtedOf(track));
    this.showDetail();
  }

  async extra(id: string): Promise<void> {
    const { tags, active_device, connection } = await api.asset(id);
    if (ui.selected.value === id) ui.extra.value = { tags: tags ?? [], device: active_device ?? null, contact: connection ?? null };
  }

  async visits(id: string): Promise<void> {
    const visits = await api.visits(id, midnight(this.#serverNow()));
    if (ui.selected.value === id) ui.visits.value = visits;
  }

  async day(id: string): Promise<void> {
    const asked = askFrom(ui.day.value, this.#serverNow());
    const [stops, trips] = await Promise.all([api.stops(id, asked), api.trips(id, asked)]);
    if (ui.selected.value !== id) return;
    ui.day.value = merged(ui.day.value, stops, trips, asked, this.#serverNow());
    this.#scene.findings.day(ui.day.value);
  }

  /** Drawn from tiles: a year costs what can be seen of it. */
  way(): void {
    const [id, span] = [ui.selected.value, ui.wayOver.value];
    if (id === null) this.#scene.hideWay();
    else this.#scene.showWay(id, span, ends(span, this.#serverNow()));
  }

  density(): void {
    const over = ui.densityOver.value;
    if (over) this.#scene.showDensity(over, ends(over, this.#serverNow()));
    else this.#scene.hideDensity();
  }

  /** Spans that go on have gone on. */
  renew(): void {
    if (document.hidden) return;
    this.way();
    this.density();
  }

  /** Of an asset that nobody looks at nothing is asked. */
  again(): void {
    this.renew();
    const id = ui.selected.value;
    if (id === null || document.hidden) return;
    for (const asked of [this.extra(id), this.visits(id), this.day(id)]) asked.catch(() => undefined);
  }

  /** The live feed tells of the fixes that move an asset; of those that are not believed only history does. */
  back(spanMs: number): void {
    const id = ui.selected.value;
    if (id !== null && !document.hidden) this.trail(id, spanMs).catch(() => undefined);
  }
}
