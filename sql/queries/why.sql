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
-- The times of an asset's last fix before an instant and of its first after it, as far as 60 days away. Of what is filed, the last row that
-- begins before it has one; what ends later than that row begins may have a later one. The first after it is in the first row that begins
-- there, or in one that reaches over the instant.
WITH at AS (
    SELECT $1::int AS asset, $2::timestamptz AS time, $2::timestamptz - interval '60 days' AS first, $2::timestamptz + interval '60 days' AS last
), before AS (
    SELECT max(u.time) AS time
    FROM at CROSS JOIN LATERAL (
        SELECT max(j.time[i]) AS time
        FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, at.asset)) AS i
        WHERE j.bucket = (at.asset & 15)::smallint AND j.t0 <= at.time AND at.asset = ANY (j.asset) AND j.time[i] <= at.time
        UNION ALL
        SELECT max(CASE WHEN p.t1 <= at.time THEN p.t1 ELSE p.time[width_bucket(at.time, p.time)] END)
        FROM piece p JOIN (
            SELECT t0 FROM piece WHERE asset = $1::int AND t0 <= $2::timestamptz AND t0 > $2::timestamptz - interval '61 days'
            ORDER BY t0 DESC LIMIT 1
        ) AS l ON p.t0 > l.t0 - interval '24 hours' AND p.t1 >= l.t0
        WHERE p.asset = at.asset AND p.t0 <= at.time
        UNION ALL
        SELECT max(CASE WHEN s.t1 <= at.time THEN s.t1
                        ELSE (SELECT max(u.time) FROM unseal_places(s.t0, s.n, s.bits) AS u WHERE u.time <= at.time) END)
        FROM sealed s JOIN (
            SELECT t0 FROM sealed WHERE asset = $1::int AND t0 <= $2::timestamptz AND t0 > $2::timestamptz - interval '61 days'
            ORDER BY t0 DESC LIMIT 1
        ) AS l ON s.t0 > l.t0 - interval '24 hours' AND s.t1 >= l.t0
        WHERE s.asset = at.asset AND s.t0 <= at.time
    ) AS u
), after AS (
    SELECT min(u.time) AS time
    FROM at CROSS JOIN LATERAL (
        SELECT min(j.time[i]) AS time
        FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, at.asset)) AS i
        WHERE j.bucket = (at.asset & 15)::smallint AND j.t1 >= at.time AND at.asset = ANY (j.asset) AND j.time[i] >= at.time
        UNION ALL
        (SELECT t0 FROM piece WHERE asset = $1::int AND t0 >= $2::timestamptz AND t0 <= $2::timestamptz + interval '60 days'
         ORDER BY t0 LIMIT 1)
        UNION ALL
        (SELECT t0 FROM sealed WHERE asset = $1::int AND t0 >= $2::timestamptz AND t0 <= $2::timestamptz + interval '60 days'
         ORDER BY t0 LIMIT 1)
        UNION ALL
        SELECT u.time
        FROM piece p CROSS JOIN LATERAL unnest(p.time) AS u (time)
        WHERE p.asset = at.asset AND p.t0 < at.time AND p.t0 > at.time - interval '24 hours' AND p.t1 >= at.time AND u.time >= at.time
        UNION ALL
        SELECT u.time
        FROM sealed s CROSS JOIN LATERAL unseal_places(s.t0, s.n, s.bits) AS u
        WHERE s.asset = at.asset AND s.t0 < at.time AND s.t0 > at.time - interval '24 hours' AND s.t1 >= at.time AND u.time >= at.time
    ) AS u
)
SELECT CASE WHEN before.time >= at.first THEN before.time END AS before, CASE WHEN after.time <= at.last THEN after.time END AS after
FROM at, before, after

-- name: asset_name
-- Also of an asset that was deleted.
SELECT name FROM asset WHERE id = $1
