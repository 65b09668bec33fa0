-- Explaining events: what is read beside the fixes.

-- name: event_chain
-- An event with those that it corrects and those that correct it, in the order of the feed.
WITH RECURSIVE older AS (
    SELECT id, revises FROM event WHERE id = $1
    UNION ALL SELECT e.id, e.revises FROM event e JOIN older o ON e.id = o.revises
), newer AS (
    SELECT id FROM event WHERE id = $1
    UNION ALL SELECT e.id FROM event e JOIN newer n ON e.revises = n.id
)
SELECT * FROM event WHERE id IN (SELECT id FROM older UNION SELECT id FROM newer) ORDER BY id

-- name: versions_of_geofence
-- All of them, also of a geofence that was deleted.
SELECT g.id, v.version, g.name, g.tags, g.attributes, v.quality, ST_AsBinary(v.geom) AS geom, v.radius_m, v.buffer_m, v.options,
       v.from_batch, CASE WHEN v.version = g.version AND g.deleted_at IS NOT NULL THEN v.to_batch END AS until_batch,
       (SELECT f.from_batch FROM geofence_version f WHERE f.geofence = g.id AND f.version = 1) AS since_batch
FROM geofence g JOIN geofence_version v ON v.geofence = g.id
WHERE g.id = $1
ORDER BY v.version

-- name: checkpoint_known_by
-- The last state before an instant in which nothing is that was stored after a batch.
SELECT time, changes, state FROM checkpoint WHERE asset = $1 AND time < $2 AND changes <= $3 ORDER BY time DESC LIMIT 1

-- name: is_late
-- Whether something late of an asset waits to be judged.
SELECT EXISTS (SELECT FROM late WHERE asset = $1) AS late

-- name: nearest_fixes
-- The times of an asset's last fix before an instant and of its first after it, as far as 60 days away.
SELECT (SELECT max(p.fix_time) FROM track($1, $2::timestamptz - interval '60 days', $2) AS p) AS before,
       (SELECT min(p.fix_time) FROM track($1, $2, $2::timestamptz + interval '60 days') AS p) AS after

-- name: asset_name
-- Also of an asset that was deleted.
SELECT name FROM asset WHERE id = $1
