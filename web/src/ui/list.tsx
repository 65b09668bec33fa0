// A list that keeps only what can be seen in the document, so that thousands of rows cost what twenty do.

import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

const SPARE_ROWS = 6;

interface Props<T> {
  items: readonly T[];
  rowPx: number;
  label: string;
  id(item: T): string;
  row(item: T): ComponentChildren;
}

export function WindowedList<T>({ items, rowPx, label, id, row }: Props<T>) {
  const frame = useRef<HTMLDivElement>(null);
  const [span, setSpan] = useState<[number, number]>([0, 40]);

  const measure = () => {
    const element = frame.current;
    if (!element) return;
    const first = Math.max(0, Math.floor(element.scrollTop / rowPx) - SPARE_ROWS);
    const last = Math.ceil((element.scrollTop + element.clientHeight) / rowPx) + SPARE_ROWS;
    if (first !== span[0] || last !== span[1]) setSpan([first, last]);
  };
  useLayoutEffect(() => {
    measure();
    const observer = new ResizeObserver(measure);
    if (frame.current) observer.observe(frame.current);
    return () => observer.disconnect();
  });

  const [first, last] = span;
  const shown = items.slice(first, last);
  return (
    <div class="scroll" ref={frame} onScroll={measure}>
      <ul class="rows" aria-label={label} style={{ height: items.length * rowPx }} onKeyDown={arrows}>
        {shown.map((item, i) => (
          <li key={id(item)} style={{ transform: `translateY(${(first + i) * rowPx}px)` }} aria-setsize={items.length} aria-posinset={first + i + 1}>
            {row(item)}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Up and down go from row to row; the list scrolls along by itself. */
function arrows(event: KeyboardEvent): void {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  const here = (event.target as HTMLElement).closest('li');
  const to = event.key === 'ArrowDown' ? here?.nextElementSibling : here?.previousElementSibling;
  const button = to?.querySelector('button');
  if (!button) return;
  event.preventDefault();
  button.focus();
}
