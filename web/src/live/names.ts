// Names and tags of assets: records leave them out, because they seldom change, and carry a revision instead, which says
// when they did. Whoever is not known yet is asked for, each once.

import type { Told } from './messages';

/** A message has at most 16 KiB and 1,000 ids. */
const AT_ONCE = 800;

export interface Named {
  id: string;
  name: string;
  tags: string[];
  revision: number;
}

export class Names {
  readonly #known = new Map<string, Named>();
  readonly #asked = new Map<string, number>();
  readonly #ask: (assets: string[]) => void;

  constructor(ask: (assets: string[]) => void) {
    this.#ask = ask;
  }

  /** As it was told last, if ever. */
  get(id: string): Named | undefined {
    return this.#known.get(id);
  }

  /** These are shown: asks for those whose names are not known, or have changed. */
  shown(assets: readonly Told[]): void {
    const wanted: string[] = [];
    for (const { id, revision } of assets) {
      if (this.#known.get(id)?.revision === revision || this.#asked.get(id) === revision) continue;
      this.#asked.set(id, revision);
      wanted.push(id);
    }
    for (let i = 0; i < wanted.length; i += AT_ONCE) this.#ask(wanted.slice(i, i + AT_ONCE));
  }

  take(named: readonly Named[]): void {
    for (const each of named) {
      this.#known.set(each.id, each);
      this.#asked.delete(each.id);
    }
  }

  /** A new connection, perhaps to a server that has begun anew: its revisions say nothing about ours. */
  doubt(): void {
    this.#asked.clear();
    for (const [id, named] of this.#known) this.#known.set(id, { ...named, revision: -1 });
  }
}
