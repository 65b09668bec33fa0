// Colours of markers. The first tag gives the colour, so a fleet of kinds can be told apart; shape, not colour, says the state.

import type { Theme } from './style';

// Eight hues that stay apart for the common kinds of colour blindness, and the one for assets without a tag.
const LIGHT = ['#1f6feb', '#d9480f', '#0b8a6c', '#a626a4', '#b08000', '#d6336c', '#4c3fd1', '#0c7fa6', '#5f6b7a', '#1f6feb'];
const DARK = ['#5b9dff', '#ff8a4c', '#3ecf9f', '#dd7be0', '#e6b93c', '#ff7aa8', '#988cff', '#4cc3ea', '#93a0b0', '#5b9dff'];
export const UNTAGGED = 9;
const HUES = 8;
/** These are clear on land and water in both themes; the others wait until these are given away. */
const FIRST_HUES = 4;

function rgb(hex: string): [number, number, number] {
  const n = Number.parseInt(hex.slice(1), 16);
  return [(n >> 16) / 255, ((n >> 8) & 255) / 255, (n & 255) / 255];
}

interface Colours {
  palette: Float32Array;
  rim: [number, number, number];
  stale: [number, number, number];
  trail: [number, number, number];
  shadow: number;
}

export const THEMES: Record<Theme, Colours> = {
  light: { palette: new Float32Array(LIGHT.flatMap(rgb)), rim: [1, 1, 1], stale: rgb('#8a94a2'), trail: rgb('#1f6feb'), shadow: 0.28 },
  dark: { palette: new Float32Array(DARK.flatMap(rgb)), rim: rgb('#10151b'), stale: rgb('#7b8694'), trail: rgb('#5b9dff'), shadow: 0.5 },
};

const given = new Map<string, number>();

function hash(text: string): number {
  let value = 2_166_136_261;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16_777_619);
  return value >>> 0;
}

/** Stable for a tag while the page lives; two tags share a colour only when there are more tags than colours. */
export function paletteIndex(tags: readonly string[] | undefined): number {
  const tag = tags?.[0];
  if (tag === undefined) return UNTAGGED;
  const known = given.get(tag);
  if (known !== undefined) return known;
  const taken = new Set(given.values());
  let index = hash(tag) % FIRST_HUES;
  for (let tries = 0; taken.has(index) && tries < HUES; tries += 1) index = (index + 1) % HUES;
  given.set(tag, index);
  return index;
}
