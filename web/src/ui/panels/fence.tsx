// One geofence: what it is, when it holds, and what it asks of fixes.

import type { Geometry } from 'geojson';
import { act } from '../actions';
import { Fit } from '../icons';
import { type Options, optionWords, scheduleWords, shapeWords } from '../rules';
import { fence } from '../state';
import { Head } from './head';

export function Rules({ options }: { options: Options }) {
  const words = optionWords(options);
  const schedule = scheduleWords(options.schedule);
  if (!schedule.length && !words.length) return <p class="muted">No options: it is exact, and every believed fix counts at once.</p>;
  return (
    <>
      {schedule.length > 0 && (
        <>
          <h3>{options.absence ? 'Must be inside' : 'Holds'}</h3>
          <ul class="rules">
            {schedule.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </>
      )}
      {words.length > 0 && (
        <>
          <h3>Options</h3>
          <ul class="rules">
            {words.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

export function FencePanel() {
  const shown = fence.value;
  if (!shown) return null;
  const options: Options = shown.properties ?? {};
  const tags = Array.isArray(options.tags) ? options.tags.map(String) : [];
  const name = String(options.name || shown.id);
  const geometry: Geometry | null = shown.geometry; // null: it is around assets, and nowhere on the map
  return (
    <div class="pane detail">
      <Head name={name} back="Close the geofence" focus={String(shown.id)} onBack={() => act().fence(null)} />
      <div class="scroll pad">
        <p class="lead">{shapeWords(geometry, options)}</p>
        {geometry && (
          <div class="actions">
            <button type="button" class="button" onClick={() => act().frameFence(shown)}>
              <Fit /> Show on the map
            </button>
          </div>
        )}
        {tags.length > 0 && (
          <p class="chips">
            {tags.map((tag) => (
              <span class="chip" key={tag}>
                {tag}
              </span>
            ))}
          </p>
        )}
        <Rules options={options} />
        {Number(options.version) > 1 && <p class="muted">Version {String(options.version)}</p>}
      </div>
    </div>
  );
}
