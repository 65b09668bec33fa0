import { expect, test } from 'vitest';
import type { Evidence, Why } from '../src/lib/api';
import type { FeedEvent } from '../src/live/messages';
import { unbroken, whyFeatures, whyPlaces } from '../src/map/findings';

const event: FeedEvent = { id: 'evt_1', type: 'geofence.enter', asset: { id: 'ast_1', name: 'Cab 7' }, fix_time: '2026-03-02T12:00:00Z', lon: -179.9, lat: 10, crossed_lon: 180, crossed_lat: 10 };
const fix = (lon: number, says: Evidence['says'], part: Evidence['part'] = null): Evidence => ({ fix_time: '2026-03-02T12:00:00Z', lon, lat: 10, accuracy_m: 5, flags: [], says, because: '', part });
const answer: Why = { event, stands: true, corrections: [], summary: '', fixes: [fix(179.8, 'out', 'before'), fix(120, null), fix(-179.95, 'unsure'), fix(-179.9, 'in', 'decided')] };

test('a way over the antimeridian stays in one piece', () => {
  expect(unbroken([[179, 1], [-179, 2], [178, 3]])).toEqual([[179, 1], [181, 2], [178, 3]]);
});

test('until the server has answered, an event is where it was', () => {
  expect(whyPlaces(event, null)).toEqual([[-179.9, 10], [-180, 10]]);
});

test('what a fix said is its shape, and the line goes through those that were seen', () => {
  const { features } = whyFeatures(event, answer, null);
  expect(features.map(({ properties }) => properties?.mark)).toEqual([undefined, 'fix-out', 'fix-unseen', 'fix-unsure', 'fix-in', 'crossing']);
  const [line] = features;
  expect(line?.geometry.type === 'LineString' && line.geometry.coordinates.length).toBe(3);
});

test('rings stand round the fix that decided and the one that is pointed at', () => {
  const ringed = (pointed: number | null) => whyFeatures(event, answer, pointed).features.flatMap(({ properties }, i) => (properties?.ring ? [i] : []));
  expect(ringed(null)).toEqual([4]);
  expect(ringed(0)).toEqual([1, 4]);
});
