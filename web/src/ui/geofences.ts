// The map draws geofences from tiles, so the page holds none but the one that is looked at.

import type { Feature } from 'geojson';
import * as api from '../lib/api';
import type { FeedEvent } from '../live/messages';
import type { Scene } from '../map/scene';
import * as ui from './state';

const SOON_MS = 300;

export class Geofences {
  readonly #scene: Scene;
  readonly #failed: (error: unknown) => void;
  /** Those that were drawn, as far as events have told of them. */
  readonly #known = new Set<string>();
  #due = 0;

  constructor(scene: Scene, recent: readonly FeedEvent[], failed: (error: unknown) => void) {
    this.#scene = scene;
    this.#failed = failed;
    for (const { geofence } of recent) if (geofence) this.#known.add(geofence.id);
  }

  /** Drawn and told anew as they are now. */
  async refresh(): Promise<void> {
    this.#scene.refreshFences();
    const looked = ui.fence.value;
    if (!looked) return;
    const now = await this.find(String(looked.id));
    if (now && ui.fence.value === looked) ui.fence.value = now;
  }

  /** An event may be the first that is heard of a geofence, or of its change. */
  told({ geofence, cause }: FeedEvent): void {
    if (!geofence || (this.#known.has(geofence.id) && !cause)) return;
    this.#known.add(geofence.id);
    clearTimeout(this.#due);
    this.#due = window.setTimeout(() => this.refresh().catch(this.#failed), SOON_MS);
  }

  /** Null: there is none. */
  async find(id: string): Promise<Feature | null> {
    try {
      return await api.geofence(id);
    } catch (error) {
      if (error instanceof api.ApiError && error.status === 404) return null;
      throw error;
    }
  }
}
