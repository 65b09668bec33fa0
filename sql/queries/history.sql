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
    SELECT date_trunc('day', j.time[i], 'UTC'), 1
    FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, $1::int)) AS i
    WHERE j.bucket = ($1::int & 15)::smallint AND j.t1 >= $2 AND j.t0 <= $3 AND $1::int = ANY (j.asset) AND j.time[i] BETWEEN $2 AND $3
) AS d
GROUP BY d.day ORDER BY d.day

-- name: track_parts
SELECT * FROM track_parts($1, $2, $3, $4)

-- name: assets_today
SELECT id, name, tags FROM asset WHERE deleted_at IS NULL ORDER BY id

-- name: loose_columns_at
-- What journal and pieces know of an instant: columns as the arrays' binary output; null where they know nothing.
SELECT array_send(array_agg(asset)) AS asset, array_send(array_agg(time)) AS time, array_send(array_agg(device)) AS device,
       array_send(array_agg(lon)) AS lon, array_send(array_agg(lat)) AS lat, array_send(array_agg(alt)) AS alt,
       array_send(array_agg(speed)) AS speed, array_send(array_agg(course)) AS course, array_send(array_agg(accuracy)) AS accuracy,
       CASE WHEN count(attributes) > 0 THEN array_send(array_agg(attributes)) END AS attributes
FROM loose_at($1)

-- name: sealed_rows_at
-- Of the i-th asset $1[i] the newest sealed row that begins, by its first trusted fix, at $3 at the latest, and ends at $2[i] (epoch ms) or
-- later; doubtful: fixes of it are doubted.
SELECT a.nth::int, s.t0, s.n, varbit_send(s.bits) AS bits, array_send(s.attributes) AS attributes,
       EXISTS (SELECT FROM doubt d WHERE d.asset = a.asset AND d.time BETWEEN s.t0 AND least(s.t1, $3) OFFSET 0) AS doubtful
FROM (
    SELECT asset, 'epoch'::timestamptz + since * interval '1 ms' AS since, nth
    FROM unnest($1::int[], $2::bigint[]) WITH ORDINALITY AS a (asset, since, nth)
) AS a CROSS JOIN LATERAL (
    SELECT s.t0, s.t1, s.n, s.bits, s.attributes FROM sealed s
    WHERE s.asset = a.asset AND s.t0 <= $3 AND s.trusted_t0 <= $3 AND s.t1 >= a.since AND s.t0 > a.since - interval '24 hours'
    ORDER BY s.t0 DESC, s.t1 DESC LIMIT 1
) AS s

-- name: doubts_of_spans
-- What neighbours say of fixes of assets $1[i] from $2[i] on, $3 at the latest.
SELECT f.nth::int, d.time, d.lon, d.lat
FROM unnest($1::int[], $2::timestamptz[]) WITH ORDINALITY AS f (asset, since, nth)
JOIN doubt d ON d.asset = f.asset AND d.time BETWEEN f.since AND $3

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
