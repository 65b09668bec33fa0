// A few words at a place of the map, until it moves.

import type { Map as MapLibre } from 'maplibre-gl';

export class Tip {
  readonly element = document.createElement('div');

  constructor(map: MapLibre) {
    this.element.className = 'tip';
    this.element.setAttribute('role', 'tooltip');
    this.element.hidden = true;
    map.on('movestart', () => this.hide());
  }

  show(x: number, y: number, words: string): void {
    this.element.textContent = words;
    this.element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px) translate(-50%, calc(-100% - 12px))`;
    this.element.hidden = false;
  }

  hide(): void {
    this.element.hidden = true;
  }
}
