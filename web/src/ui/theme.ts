// Light, dark, or as the system says. The choice is kept in this browser and stands on <html data-theme>.

import { computed, effect, signal } from '@preact/signals';
import type { Theme } from '../map/style';
import type { ThemeChoice } from './state';

const KEY = 'tracker.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(dark.matches);
dark.addEventListener('change', () => {
  systemDark.value = dark.matches;
});

function stored(): ThemeChoice {
  const value = localStorage.getItem(KEY);
  return value === 'light' || value === 'dark' ? value : 'auto';
}

export const choice = signal<ThemeChoice>(stored());
export const theme = computed<Theme>(() => (choice.value === 'auto' ? (systemDark.value ? 'dark' : 'light') : choice.value));

effect(() => {
  if (choice.value === 'auto') {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem(KEY);
  } else {
    document.documentElement.dataset.theme = choice.value;
    localStorage.setItem(KEY, choice.value);
  }
});

export function turn(): void {
  choice.value = theme.value === 'dark' ? 'light' : 'dark';
}
