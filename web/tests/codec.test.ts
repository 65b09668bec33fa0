import { describe, expect, test } from 'vitest';
import { decode } from '../src/live/codec';
import { brief, cellOf, Crowd } from '../src/live/crowd';
import { Names } from '../src/live/names';
// The server's tests read the same examples.
import vectors from '../../tests/wire/live_frames.json';

const bufferOf = (hex: string): ArrayBuffer => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)).buffer;

describe('a binary frame', () => {
  test.each(vectors)('is read: $name', ({ bytes, means }) => {
    const { type, id, assets, remove, clusters } = decode(bufferOf(bytes.join('')));
    const entries = assets.map(({ fix_ms, ...rest }) => ({ ...rest, time_s: fix_ms / 1_000 }));
    expect({ type, id, assets: entries, remove, clusters: clusters ?? [], clustered: clusters !== null }).toEqual({
      type: means.type,
      id: means.id,
      assets: means.assets,
      remove: means.remove,
      clusters: means.clusters,
      clustered: means.clustered,
    });
  });

  test('that is not as long as it says is refused', () => {
    const [first] = vectors;
    expect(() => decode(bufferOf(`${first?.bytes.join('')}00`))).toThrow('long');
  });
});

describe('names', () => {
  const told = (id: string, revision: number) => ({ id, revision, lon: 0, lat: 0, fix_ms: 0, speed_mps: null, course_deg: null, state: 'online' as const });

  test('are asked for once, and again when they changed', () => {
    const asked: string[][] = [];
    const names = new Names((assets) => asked.push(assets));
    names.shown([told('ast_1', 0), told('ast_2', 0)]);
    names.shown([told('ast_1', 0)]);
    names.take([{ id: 'ast_1', name: 'Van', tags: [], revision: 0 }]);
    names.shown([told('ast_1', 0)]);
    expect(asked).toEqual([['ast_1', 'ast_2']]);
    names.shown([told('ast_1', 1)]);
    expect(asked.at(-1)).toEqual(['ast_1']);
  });

  test('stay while a new connection is asked for them anew', () => {
    const asked: string[][] = [];
    const names = new Names((assets) => asked.push(assets));
    names.take([{ id: 'ast_1', name: 'Van', tags: [], revision: 0 }]);
    names.doubt();
    names.shown([told('ast_1', 0)]);
    expect(asked).toEqual([['ast_1']]);
    expect(names.get('ast_1')?.name).toBe('Van');
  });

  test('of very many are asked for in messages that are not too long', () => {
    const asked: string[][] = [];
    new Names((assets) => asked.push(assets)).shown(Array.from({ length: 3_000 }, (_, i) => told(`ast_${4_294_000_000 + i}`, 0)));
    expect(asked.flat()).toHaveLength(3_000);
    for (const assets of asked) expect(JSON.stringify({ type: 'names', assets }).length).toBeLessThan(16 * 1024);
  });
});

describe('a crowd', () => {
  test('is what the clusters say, cell by cell', () => {
    const crowd = new Crowd();
    crowd.snapshot([{ id: '4/8/5', lon: 1, lat: 1, count: 5 }, { id: '4/9/5', lon: 30, lat: 1, count: 2 }]);
    crowd.update([{ id: '4/8/5', lon: 1, lat: 1, count: 4 }, { id: '4/9/5', lon: 0, lat: 0, count: 0 }]);
    expect([...crowd.all()].map(({ id, count }) => [id, count])).toEqual([['4/8/5', 4]]);
    crowd.snapshot(null);
    expect([...crowd.all()]).toEqual([]);
    expect(crowd.shown).toBe(false);
  });

  test('keeps neighbours apart that meet at the border of their cells', () => {
    const crowd = new Crowd();
    crowd.snapshot([{ id: '3/4/4', lon: 44.9, lat: -1, count: 5 }, { id: '3/5/4', lon: 45.1, lat: -1, count: 5 }]);
    const [one, other] = [crowd.get('3/4/4'), crowd.get('3/5/4')];
    expect((other?.point.x ?? 0) - (one?.point.x ?? 0)).toBeCloseTo(0.5 / 8, 9);
  });

  test('knows the box of a cell', () => {
    expect(cellOf('0/0/0').map(Math.round)).toEqual([-180, -85, 180, 85]);
    expect(cellOf('1/1/0').map(Math.round)).toEqual([0, 0, 180, 85]);
  });

  test.each([[7, '7'], [999, '999'], [1_000, '1k'], [1_250, '1.3k'], [9_960, '10k'], [34_499, '34k'], [999_600, '1M'], [1_234_567, '1.2M']])('of %i is written %s', (count, text) => {
    expect(brief(count)).toBe(text);
  });
});
