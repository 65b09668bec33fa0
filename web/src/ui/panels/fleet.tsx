// The fleet: who is in view, and by search who is elsewhere.

import { age, latLon, speed } from '../../lib/units';
import { act } from '../actions';
import { Close, Fence, Search } from '../icons';
import { WindowedList } from '../list';
import { type ClusterRow, clusters, found, hovered, known, listed, listedElsewhere, listedFences, nowMs, query, type Row, rows, searched, selected } from '../state';

const ROW_PX = 52;
const STATE_WORDS = { moving: 'moving', still: 'standing', stale: 'no recent fix' } as const;
const CONTACT_WORDS = { never: 'never heard of', online: 'online', silent: 'silent', offline: 'offline' } as const;

export function Mark({ state, colour }: { state: Row['state']; colour: number }) {
  return <span class={`mark mark-${state} hue-${colour}`} aria-hidden="true" />;
}

function FleetRow({ row }: { row: Row }) {
  const current = selected.value === row.id;
  const fact = row.contact ? CONTACT_WORDS[row.contact] : row.state === 'moving' ? (speed(row.speedMps) ?? 'moving') : STATE_WORDS[row.state];
  return (
    <button
      type="button"
      class="row"
      aria-current={current ? 'true' : undefined}
      onClick={() => act().showRow(row)}
      onPointerEnter={() => act().hover(row.id)}
      onPointerLeave={() => hovered.value === row.id && act().hover(null)}
    >
      <Mark state={row.state} colour={row.colour} />
      <span class="row-text">
        <span class="row-name">{row.name}</span>
        <span class="row-fact">
          {fact}
          {row.tags.length > 0 && <> · {row.tags.slice(0, 2).join(', ')}</>}
        </span>
      </span>
      {row.fixMs !== null && (
        <span class="row-age" title={row.contact ? 'Time since it was heard of' : 'Time since the last fix'}>
          {age(nowMs.value - row.fixMs)}
        </span>
      )}
    </button>
  );
}

function SearchBox() {
  return (
    <div class="search">
      <Search />
      <input
        type="search"
        id="search"
        placeholder="Search the fleet"
        aria-label="Search assets and geofences by name or tag"
        autocomplete="off"
        spellcheck={false}
        value={query.value}
        onInput={(event) => {
          query.value = event.currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key !== 'Escape') return;
          query.value = '';
          event.currentTarget.blur();
        }}
      />
      {query.value ? (
        <button type="button" class="plain" aria-label="Clear the search" onClick={() => (query.value = '')}>
          <Close />
        </button>
      ) : (
        <kbd aria-hidden="true">/</kbd>
      )}
    </div>
  );
}

function CrowdRow({ row: { count, lat, lon, box } }: { row: ClusterRow }) {
  return (
    <button type="button" class="row" onClick={() => act().open(box)}>
      <span class="mark mark-crowd" aria-hidden="true" />
      <span class="row-text">
        <span class="row-name">{count === 1 ? '1 asset' : `${count.toLocaleString()} assets`}</span>
        <span class="row-fact">around {latLon(lat, lon, 2)}</span>
      </span>
      <span class="row-age">zoom in</span>
    </button>
  );
}

function Summary() {
  const all = rows.value;
  const crowd = clusters.value;
  if (crowd) {
    const count = crowd.reduce((sum, row) => sum + row.count, 0);
    return (
      <p class="summary">
        About <strong>{count.toLocaleString()}</strong> in view: too many to list. Zoom in to see each.
      </p>
    );
  }
  const moving = all.filter((row) => row.state === 'moving').length;
  return (
    <p class="summary">
      <strong>{all.length.toLocaleString()}</strong> in view
      {moving > 0 && (
        <>
          {' '}
          · <strong>{moving.toLocaleString()}</strong> moving
        </>
      )}
    </p>
  );
}

export function Fleet() {
  const far = listedElsewhere.value;
  const items = [...listed.value, ...far];
  // Who searches looks for one asset, wherever it is.
  const crowd = query.value ? null : clusters.value;
  return (
    <div class="pane">
      <SearchBox />
      <Summary />
      {crowd && <WindowedList items={crowd} rowPx={ROW_PX} label="Clusters" id={(row) => row.id} row={(row) => <CrowdRow row={row} />} />}
      {!crowd && items.length > 0 && (
        <WindowedList items={items} rowPx={ROW_PX} label="Assets" id={(row) => row.id} row={(row) => <FleetRow row={row} />} />
      )}
      {!crowd && items.length === 0 && listedFences.value.length === 0 && <Nothing />}
      <Fences />
      {far.length > 0 && <p class="hint">{found.value?.more ? `The first ${found.value.rows.length} that were found: more words find less` : `${far.length} found outside the view`}</p>}
    </div>
  );
}

/** Geofences of the searched name: the way to them without a mouse. */
function Fences() {
  const first = listedFences.value;
  if (!first.length) return null;
  return (
    <div class="found">
      <h3>{found.value?.moreFences ? `The first ${first.length} geofences` : 'Geofences'}</h3>
      <ul class="lines" aria-label="Geofences">
        {first.map((fence) => (
          <li key={fence.id}>
            <button type="button" class="line" onClick={() => act().showFence(String(fence.id))}>
              <Fence />
              <span class="line-what">{String(fence.properties?.name)}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Nothing() {
  if (!known.value) return <p class="nothing">Asking the server where everybody is…</p>;
  if (!query.value) {
    return (
      <div class="nothing">
        <p>No asset in this part of the map.</p>
        <button type="button" class="button" onClick={() => act().fitFleet()}>
          Show the whole fleet
        </button>
      </div>
    );
  }
  return <p class="nothing">{found.value?.words === searched.value ? `Nothing is named or tagged “${query.value}”.` : 'Searching…'}</p>;
}
