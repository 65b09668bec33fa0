-- Where assets were: tracks, the fleet at an instant, visits.

-- name: track_days
-- The UTC days in which an asset has fixes between two instants, and about how many.
SELECT d.day, sum(d.n)::bigint AS fixes
FROM (
    SELECT date_trunc('day', p.t0, 'UTC') AS day, p.n
    FROM piece p
    WHERE p.asset = $1 AND p.t0 <= $3 AND p.t1 >= $2 AND p.t0 > $2::timestamptz - interval '24 hours'
    UNION ALL
    SELECT date_trunc('day', s.t0, 'UTC'), s.n
    FROM sealed s
    WHERE s.asset = $1 AND s.t0 <= $3 AND s.t1 >= $2 AND s.t0 > $2::timestamptz - interval '24 hours'
    UNION ALL
    SELECT date_trunc('day', u.time, 'UTC'), 1
    FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time) AS u (asset, time)
    WHERE j.bucket = ($1::int & 15)::smallint AND j.t1 >= $2 AND j.t0 <= $3 AND u.asset = $1 AND u.time BETWEEN $2 AND $3
) AS d
GROUP BY d.day ORDER BY d.day

-- name: track_fixes
SELECT device, fix_time, lon, lat, alt_m, speed_mps, course_deg, accuracy_m, flags, attributes
FROM track($1, $2, $3)
WHERE flags = 0 OR NOT $4
ORDER BY fix_time, lon, lat, batch LIMIT $5

-- name: assets_at
-- Of the assets that are there today: what journal and pieces know of an instant, in stored integers; null where they know nothing.
SELECT a.id AS asset, a.name, a.tags, l.device, l.time, l.lon, l.lat, l.alt, l.speed, l.course, l.accuracy, l.attributes
FROM asset a LEFT JOIN loose_at($1) AS l ON l.asset = a.id
WHERE a.deleted_at IS NULL
ORDER BY a.id

-- name: sealed_rows_at
-- Of the i-th asset $1[i] the newest sealed row that begins, by its first trusted fix, at $3 at the latest, and ends at $2[i] or later.
-- Binary COPY.
SELECT a.nth::int, s.t0, s.n, s.bits, s.attributes
FROM unnest($1::int[], $2::timestamptz[]) WITH ORDINALITY AS a (asset, since, nth) CROSS JOIN LATERAL (
    SELECT s.t0, s.n, s.bits, s.attributes FROM sealed s
    WHERE s.asset = a.asset AND s.t0 <= $3 AND s.trusted_t0 <= $3 AND s.t1 >= a.since AND s.t0 > a.since - interval '24 hours'
    ORDER BY s.t0 DESC LIMIT 1
) AS s

-- name: doubted_fixes
-- Which of some fixes, by asset and place, are doubted.
SELECT f.nth::int FROM unnest($1::int[], $2::timestamptz[], $3::int[], $4::int[]) WITH ORDINALITY AS f (asset, time, lon, lat, nth)
JOIN doubt d ON d.asset = f.asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat

-- name: sealed_at
SELECT * FROM sealed_at($1, $2, $3)

-- name: visits_of_asset
-- Those that overlap the time between $4 and $5, after the place ($2, $3) in their order.
SELECT v.id, v.geofence, g.name AS geofence_name, v.enter_time, v.exit_time, v.initial, v.near, n.name AS near_name
FROM visit v JOIN geofence g ON g.id = v.geofence LEFT JOIN asset n ON n.id = v.near
WHERE v.asset = $1 AND (v.enter_time, v.id) > ($2, $3)
  AND ($4::timestamptz IS NULL OR v.exit_time IS NULL OR v.exit_time >= $4)
  AND ($5::timestamptz IS NULL OR v.enter_time <= $5)
  AND ($6::int IS NULL OR v.geofence = $6)
ORDER BY v.enter_time, v.id LIMIT $7
