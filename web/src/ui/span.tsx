// Chooses a part of the past: a few that people ask for, or from when to when.

import { useState } from 'preact/hooks';
import { ends, fault, fromField, type Own, type Reach, type Span, toField } from '../lib/span';
import { nowMs } from './state';

const WORDS: Record<Reach, string> = { today: 'Today', day: '24 h', week: '7 days', month: '30 days', year: 'Year' };

interface Props {
  label: string;
  reaches: readonly Reach[];
  value: Span;
  choose(span: Span): void;
}

export function SpanPicker({ label, reaches, value, choose }: Props) {
  const own = typeof value === 'object';
  return (
    <fieldset class="span">
      <legend>{label}</legend>
      <div class="span-choices">
        {reaches.map((reach) => (
          <button key={reach} type="button" aria-pressed={value === reach} onClick={() => choose(reach)}>
            {WORDS[reach]}
          </button>
        ))}
        <button type="button" aria-pressed={own} onClick={() => choose(ends(value, nowMs.value))}>
          Dates
        </button>
      </div>
      {own && <Ends value={value} choose={choose} />}
    </fieldset>
  );
}

function Ends({ value, choose }: { value: Own; choose(span: Own): void }) {
  const [draft, setDraft] = useState(value);
  const wrong = fault(draft);
  const change = (part: Partial<Own>) => {
    const next = { ...draft, ...part };
    setDraft(next);
    if (!fault(next)) choose(next);
  };
  const field = (name: keyof Own, words: string) => (
    <label>
      {words}
      <input type="datetime-local" value={toField(value[name])} onInput={(event) => change({ [name]: fromField(event.currentTarget.value) })} />
    </label>
  );
  return (
    <div class="span-ends">
      {field('from', 'From')}
      {field('to', 'To')}
      {wrong && <p role="alert">{wrong}</p>}
    </div>
  );
}
