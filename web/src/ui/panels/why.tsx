// Why there is an event: the sentence, the fixes that it rests on and what each said, the rule. The map shows the fixes.

import { signal } from '@preact/signals';
import type { Evidence, Says, Why } from '../../lib/api';
import { metres, timeOfDay } from '../../lib/units';
import { act } from '../actions';
import { tell } from '../format';
import { nowMs, why } from '../state';
import { EventIcon, Sentence, When } from './feed';
import { Rules } from './fence';
import { Head } from './head';

const WORDS: Record<Says | 'unseen', string> = { in: 'In', out: 'Out', unsure: 'Unsure', unseen: 'Not seen' };
const PARTS = { before: 'the fix before', run: 'counts', decided: 'decided' } as const;

/** The map's marks, small: a disc, a square, a triangle, a cross. */
export function SaysMark({ says }: { says: Says | null }) {
  return (
    <svg class={`says says-${says ?? 'unseen'}`} viewBox="0 0 16 16" aria-hidden="true">
      {says === 'in' && <circle cx="8" cy="8" r="5.500" />}
      {says === 'out' && <rect x="3" y="3" width="10" height="10" />}
      {says === 'unsure' && <path d="M8 2.500 14 13.500H2Z" />}
      {says === null && <path d="M3.500 3.500 12.500 12.500M12.500 3.500 3.500 12.500" />}
    </svg>
  );
}

const pointed = signal<number | null>(null);

function point(fix: number | null): void {
  pointed.value = fix;
  act().point(fix);
}

function Fix({ fix, number }: { fix: Evidence; number: number }) {
  return (
    <li>
      <button
        type="button"
        class={`fix${fix.part === 'decided' ? ' fix-decided' : ''}`}
        onClick={() => act().fly(fix.lon, fix.lat)}
        onPointerEnter={() => point(number)}
        onPointerLeave={() => point(null)}
        onFocus={() => point(number)}
        onBlur={() => point(null)}
      >
        <SaysMark says={fix.says} />
        <span class="fix-text">
          <span class="fix-head">
            <strong>{WORDS[fix.says ?? 'unseen']}</strong> {timeOfDay(Date.parse(fix.fix_time), nowMs.value)}
            {fix.accuracy_m != null && <> · ± {metres(fix.accuracy_m)}</>}
            {fix.part && <span class="chip chip-small">{PARTS[fix.part]}</span>}
          </span>
          <span class="fix-because">{fix.because}</span>
        </span>
      </button>
    </li>
  );
}

function Fence({ of: { geofence } }: { of: Why }) {
  if (!geofence) return null;
  const { id, name, version, newest_version, deleted } = geofence;
  const note = deleted ? 'It was deleted since.' : version < newest_version ? 'It was changed since: the map shows the newest version.' : null;
  return (
    <>
      <div class="actions">
        <button type="button" class="button" disabled={deleted} onClick={() => act().fence(id)}>
          Geofence “{name}”
        </button>
      </div>
      {note && <p class="muted">{note}</p>}
    </>
  );
}

function Answer({ of }: { of: Why }) {
  return (
    <>
      {!of.stands && <p class="warn">This is not the last word: it was corrected.</p>}
      <p class="lead sentence">{of.summary}</p>
      {of.pending && <p class="muted">Late fixes of this asset are being judged; this may change.</p>}
      {of.fixes && of.fixes.length > 0 && (
        <>
          <h3>
            {of.fixes.length === 1 ? 'The fix' : `The ${of.fixes.length} fixes`}, and what {of.fixes.length === 1 ? 'it' : 'each'} said
          </h3>
          <ol class="fixes">
            {of.fixes.map((fix, i) => (
              <Fix key={`${fix.fix_time} ${fix.lon} ${fix.lat}`} fix={fix} number={i} />
            ))}
          </ol>
          {of.fixes_left_out && <p class="muted">There are more between the first ones and the last.</p>}
        </>
      )}
      {of.rule && <Rules options={of.rule} />}
      <Fence of={of} />
    </>
  );
}

export function WhyPanel() {
  const asked = why.value;
  if (!asked) return null;
  const { event, answer, fault } = asked;
  const { kind, notes } = tell(event);
  return (
    <div class="pane detail">
      <Head name="Why?" back="Close the explanation" focus={event.id} onBack={() => act().why(null)} />
      <div class="scroll pad">
        <div class={`told${event.status === 'retracted' ? ' event-gone' : ''}`}>
          <EventIcon kind={kind} />
          <p>
            <span class="event-what">
              <Sentence event={event} />
            </span>
            <When event={event} />
            {notes.length > 0 && <> · {notes.join(', ')}</>}
          </p>
        </div>
        {fault && (
          <p class="warn" role="alert">
            {fault}
          </p>
        )}
        {!answer && !fault && <p class="muted">Asking the server…</p>}
        {answer && <Answer of={answer} />}
      </div>
    </div>
  );
}
