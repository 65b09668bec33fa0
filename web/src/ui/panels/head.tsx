// The head of a panel that stands over another: the way back, and its name. It takes the keyboard when it opens, or when
// the list that it replaces took the focus along.

import { useLayoutEffect, useRef } from 'preact/hooks';
import { Back } from '../icons';

interface Props {
  name: string;
  back: string;
  onBack(): void;
  /** Takes the focus whenever this changes; left out, never. */
  focus?: string;
}

export function Head({ name, back, onBack, focus }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    if (focus !== undefined || document.activeElement === document.body) heading.current?.focus({ preventScroll: true });
  }, [focus]);
  return (
    <header class="pane-head pane-head-back">
      <button type="button" class="plain" aria-label={back} onClick={onBack}>
        <Back />
      </button>
      <h2 ref={heading} tabIndex={-1}>
        {name}
      </h2>
    </header>
  );
}
