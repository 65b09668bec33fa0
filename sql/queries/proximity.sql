-- Geofences around assets: what is read to judge pairs of assets, and what is written of it.

-- name: load_proximities
-- Those in force.
SELECT g.id, g.version, g.name, g.tags, g.attributes, v.quality, v.options, v.from_batch
FROM geofence g JOIN geofence_version v ON v.geofence = g.id AND v.version = g.version
WHERE g.deleted_at IS NULL AND v.geom IS NULL
ORDER BY g.id

-- name: proximity_version
SELECT g.id, v.version, g.name, g.tags, g.attributes, v.quality, v.options, v.from_batch
FROM geofence g JOIN geofence_version v ON v.geofence = g.id WHERE g.id = $1 AND v.version = $2

-- name: fixes_of_assets
-- Every fix of some assets, of each between two instants, both inclusive; flags: its own and those that its neighbours brought about.
SELECT a.asset, f.fix_time, round(f.lon * 1e7)::int, round(f.lat * 1e7)::int, f.batch, f.flags
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS a (asset, first, last)
CROSS JOIN LATERAL track(a.asset, a.first, a.last) AS f

-- name: assets_in_box
-- Which of some assets were in one of the boxes ($4 west, $5 east, of the same length; $6 south, $7 north) at any time between $2 and $3.
SELECT a.asset FROM unnest($1::int[]) AS a (asset)
WHERE EXISTS (
    SELECT FROM track(a.asset, $2::timestamptz, $3::timestamptz) AS f
    WHERE f.lat BETWEEN $6 AND $7
      AND EXISTS (SELECT FROM unnest($4::float8[], $5::float8[]) AS b (west, east) WHERE f.lon BETWEEN b.west AND b.east)
)

-- name: journal_spans
-- Of the assets in the journal: the times of their first and last fix there.
SELECT u.asset, min(u.time) AS first_time, max(u.time) AS last_time
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time) AS u (asset, time) GROUP BY u.asset

-- name: newest_fixes
-- When the newest fix of each of some assets was taken.
SELECT asset, max(time) AS time FROM (
    SELECT asset, any_time AS time FROM latest WHERE asset = ANY ($1::int[])
    UNION ALL
    SELECT u.asset, u.time FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time) AS u (asset, time) WHERE u.asset = ANY ($1::int[])
) AS f GROUP BY asset

-- name: all_asset_tags
SELECT asset, from_batch, tags FROM asset_tags ORDER BY asset, from_batch

-- name: visits_of_pairs
-- The visits that overlap the time from $2 on of pairs with one of these assets in a geofence, with the events that tell of them.
SELECT v.id, v.asset, v.near, v.geofence_version, v.since_batch, v.enter_time, v.enter_event, i.lon AS enter_lon, i.lat AS enter_lat,
       v.exit_time, v.exit_event, o.lon AS exit_lon, o.lat AS exit_lat, o.cause AS exit_cause
FROM visit v JOIN event i ON i.id = v.enter_event LEFT JOIN event o ON o.id = v.exit_event
WHERE v.geofence = $1 AND v.near IS NOT NULL AND (v.exit_time IS NULL OR v.exit_time >= $2)
  AND (v.asset = ANY ($3::int[]) OR v.near = ANY ($3::int[]))
ORDER BY v.asset, v.near, v.enter_time, v.enter_event

-- name: open_visits_of_pairs
SELECT v.id, v.asset, v.geofence, v.near, v.geofence_version, v.since_batch, v.enter_time, v.enter_event, g.name AS geofence_name,
       g.deleted_at IS NOT NULL AS deleted
FROM visit v JOIN geofence g ON g.id = v.geofence
WHERE v.near IS NOT NULL AND v.exit_event IS NULL
ORDER BY v.geofence, v.asset, v.near

-- name: doubt_marks
SELECT id, asset, time FROM doubt_mark ORDER BY id LIMIT 10000

-- name: record_proximity
SELECT record_proximity($1, $2)
