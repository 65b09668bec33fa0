-- Judging assets again: what is read, and what is written of it.

-- name: late_of_asset
-- What is to be judged again of an asset, up to a batch, in the order of time.
SELECT batch, first_time, last_time FROM late WHERE asset = $1 AND batch <= $2 ORDER BY first_time

-- name: checkpoint_before
SELECT time, changes, state FROM checkpoint WHERE asset = $1 AND time < $2 ORDER BY time DESC LIMIT 1

-- name: any_between
-- Whether anything of an asset that was stored after batch $4 has its time between two instants, either included.
SELECT EXISTS (SELECT FROM position WHERE asset = $1 AND fix_time BETWEEN $2 AND $3 AND batch > $4)

-- name: checkpoint_floor
-- The state that nothing before is judged again from.
SELECT time, changes, state FROM checkpoint WHERE asset = $1 AND floor

-- name: checkpoint_from
SELECT time, changes, state FROM checkpoint WHERE asset = $1 AND time >= $2 ORDER BY time LIMIT 1

-- name: thin_checkpoints
-- Of the states that are older than eight days one stays for each asset and UTC day; at most 100,000 are looked at.
WITH old AS (
    SELECT c.asset, c.time, row_number() OVER (PARTITION BY c.asset, date_trunc('day', c.time, 'UTC') ORDER BY c.time) = 1
               AND NOT EXISTS (SELECT FROM checkpoint d WHERE d.asset = c.asset AND d.lasting
                               AND date_trunc('day', d.time, 'UTC') = date_trunc('day', c.time, 'UTC')
                               AND d.time BETWEEN c.time - interval '1 day' AND c.time + interval '1 day') AS stays
    FROM (SELECT asset, time FROM checkpoint WHERE NOT lasting AND time < now() - interval '8 days' ORDER BY time LIMIT 100000) AS c
), kept AS (
    UPDATE checkpoint c SET lasting = true FROM old o WHERE o.stays AND c.asset = o.asset AND c.time = o.time
)
DELETE FROM checkpoint c USING old o WHERE NOT o.stays AND c.asset = o.asset AND c.time = o.time

-- name: turnings_of_asset
SELECT geofence, batch, time, lon, lat, alt, speed, course, accuracy, stored
FROM turning WHERE asset = $1 AND time >= $2
ORDER BY time, lon, lat, alt, speed, course, accuracy, stored, batch

-- name: tags_of_asset
SELECT from_batch, tags FROM asset_tags WHERE asset = $1 ORDER BY from_batch

-- name: standing_events
-- The events about geofences that stand for an asset: those of fixes in a span of time, and those that changes after the batches $4
-- brought about, wherever their place is. What a later one revises or retracts stands no more. In the order of its fixes.
SELECT e.id, e.type, e.geofence, e.geofence_version, e.device, e.batch, e.fix_time, e.lon, e.lat, e.initial, e.cause, e.crossed_at,
       e.crossed_lon, e.crossed_lat
FROM event e
WHERE e.asset = $1 AND e.geofence IS NOT NULL AND e.near IS NULL AND e.status <> 'retracted'
  AND CASE WHEN e.cause IN ('fence_changed', 'asset_changed') THEN e.batch = ANY ($4::bigint[])
           ELSE e.fix_time BETWEEN $2 AND $3 END
  AND NOT EXISTS (SELECT FROM event r WHERE r.revises = e.id)
ORDER BY e.fix_time, e.lon, e.lat, e.id

-- name: visits_to_revise
-- The visits of an asset in some geofences that overlap a span of time, or would: until they are mended, some have an
-- exit before their enter.
SELECT id, geofence, geofence_version, enter_time, enter_event, initial, exit_time, exit_event
FROM visit
WHERE asset = $1 AND geofence = ANY ($2::int[]) AND enter_time <= $4
  AND (exit_time IS NULL OR exit_time >= $3 OR enter_time >= $3)
ORDER BY geofence, enter_time, id

-- name: held_buckets
-- Those of the buckets $2 that nobody moves fixes of now; nobody does until the end of the transaction.
SELECT b FROM unnest($2::int[]) AS b WHERE pg_try_advisory_xact_lock($1::int, b)

-- name: record_revision
SELECT record_revision($1, $2)

-- name: see_believed
-- What was filed while it was doubted is seen when it is believed; that less is seen `record_revision` knows.
UPDATE latest SET seen = $2 WHERE asset = $1 AND seen < $2

-- name: fix_of_asset
-- One trusted fix by its place, of those equal in it the first: as the table `latest` has it.
SELECT u.device, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.attributes, u.batch
FROM (SELECT 'epoch'::timestamptz + $2::bigint * interval '1 ms' AS time) AS t
CROSS JOIN LATERAL stored_fixes($1, t.time, t.time) AS u
WHERE u.lon = $3 AND u.lat = $4 AND u.flags = 0
ORDER BY u.alt, u.speed, u.course, u.accuracy, u.batch LIMIT 1

-- name: record_tags
-- The tags $4 that an asset has for what is stored from batch $2 on; $3 are those before, if they never changed before.
INSERT INTO asset_tags (asset, from_batch, tags)
SELECT $1::int, 0, $3::text[] WHERE $2::bigint > 0
UNION ALL SELECT $1::int, $2::bigint, $4::text[]
ON CONFLICT (asset, from_batch) DO UPDATE
SET tags = CASE WHEN asset_tags.from_batch = 0 THEN asset_tags.tags ELSE excluded.tags END

-- name: mark_late
INSERT INTO late (asset, batch, first_time, last_time) VALUES ($1, $2, $3, $4)
ON CONFLICT (asset, batch) DO UPDATE
SET first_time = least(late.first_time, excluded.first_time), last_time = greatest(late.last_time, excluded.last_time)

-- name: widen_late
-- What is late lies open up to where it is judged so far: the states that are kept on the way agree with whoever judges it again,
-- and say nothing of what follows.
UPDATE late SET last_time = greatest(last_time, $3) WHERE asset = $1 AND batch <= $2

-- name: forget_late
DELETE FROM late WHERE asset = $1

-- name: place_events
-- Events that changes brought about name the last batch before the change.
UPDATE event e SET batch = p.batch FROM unnest($1::bigint[], $2::bigint[]) AS p (id, batch) WHERE e.id = p.id

-- name: place_changes
-- The places, for asset $1, of changes that turned something where the asset was not when they were made: who judges again
-- without anything near must find what they brought about.
INSERT INTO turning (asset, geofence, batch, time, lon, lat, alt, speed, course, accuracy, stored)
SELECT $1, t.geofence, t.batch, 'epoch'::timestamptz + t.time_ms * interval '1 ms', t.lon, t.lat, t.alt, t.speed, t.course, t.accuracy,
       t.stored
FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[], $10::int[], $11::bigint[])
     AS t (geofence, batch, time_ms, lon, lat, alt, speed, course, accuracy, stored)
ON CONFLICT DO NOTHING
