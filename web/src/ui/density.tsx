// Where the fleet has been: over which time, and what the colours count.

import { ramp } from '../map/tiled';
import { brief } from '../live/crowd';
import { act } from './actions';
import { Close } from './icons';
import { SpanPicker } from './span';
import { densityOver, refused } from './state';
import { theme } from './theme';

export function Density() {
  const over = densityOver.value;
  if (!over) return null;
  return (
    <section class="heat" aria-label="Where the fleet has been">
      <header>
        <h2>Where the fleet has been</h2>
        <button type="button" class="plain" aria-label="Close where the fleet has been" onClick={() => act().density(null)}>
          <Close />
        </button>
      </header>
      <SpanPicker label="Over which time" reaches={['day', 'week', 'month', 'year']} value={over} choose={(span) => act().density(span)} />
      <ol class="ramp" aria-label="Fixes in a dot">
        {ramp(theme.value).map((colour, tens) => (
          <li key={colour}>
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <circle cx="8" cy="8" r="7" fill={colour} />
            </svg>
            {brief(10 ** tens)}
            {tens === 5 && '+'}
          </li>
        ))}
      </ol>
      <p class="muted">{refused.value.density ?? 'Fixes of all assets in the place of a dot; those that are not believed are left out.'}</p>
    </section>
  );
}
