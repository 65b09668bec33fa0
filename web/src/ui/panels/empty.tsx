// Before the first fix: what to do, with a line to paste. Who may make devices gets one with a click.

import { signal } from '@preact/signals';
import { makeDevice, type NewDevice } from '../../lib/api';
import { Copy } from '../icons';

const made = signal<NewDevice | null>(null);
const fault = signal<string | null>(null);
const busy = signal(false);
const copied = signal(false);

const PLACEHOLDER = 'DEVICE_TOKEN';

function curl(token: string): string {
  return [
    `curl ${location.origin}/v1/ingest \\`,
    `  -H 'Authorization: Bearer ${token}' \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d '[{"lon": 24.9384, "lat": 60.1699, "speed_mps": 4.2, "course_deg": 75}]'`,
  ].join('\n');
}

async function make(): Promise<void> {
  busy.value = true;
  fault.value = null;
  try {
    made.value = await makeDevice('My first device');
  } catch (error) {
    fault.value = error instanceof Error ? error.message : String(error);
  }
  busy.value = false;
}

async function copy(): Promise<void> {
  await navigator.clipboard?.writeText(curl(made.value?.token ?? PLACEHOLDER));
  copied.value = true;
}

export function Empty({ mayMake }: { mayMake: boolean }) {
  return (
    <section class="empty" aria-labelledby="empty-title">
      <h2 id="empty-title">Nothing on the map yet</h2>
      <p>Every device has a token of its own. Send one fix with it, and it appears here at once.</p>
      {mayMake && !made.value && (
        <button type="button" class="button button-main" disabled={busy.value} onClick={() => void make()}>
          Make a device
        </button>
      )}
      {fault.value && <p class="warn" role="alert">{fault.value}</p>}
      {made.value && (
        <p role="status">
          “{made.value.asset.name}” is made. Its token is shown this once, in the line below.
        </p>
      )}
      <pre tabIndex={0}>{curl(made.value?.token ?? PLACEHOLDER)}</pre>
      <button type="button" class="button" onClick={() => void copy()}>
        <Copy /> {copied.value ? 'Copied' : 'Copy the line'}
      </button>
    </section>
  );
}
