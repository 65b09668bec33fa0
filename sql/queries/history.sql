-- Where assets were: tracks, the fleet at an instant, visits.

-- name: track_days
-- The UTC days in which an asset has fixes between two instants, and about how many.
SELECT d.day, sum(d.n)::bigint AS fixes
FROM (
    SELECT date_trunc('day', p.t0, 'UTC') AS day, p.n
    FROM piece p
    WHERE p.asset = $1 AND p.t0 <= $3 AND p.t1 >= $2 AND p.t0 > $2::timestamptz - interval '24 hours'
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

-- name: positions_at
-- Of the assets that are there today. The box is in degrees, west > east crosses the antimeridian; null: everywhere.
SELECT f.asset, a.name, a.tags, f.device, f.fix_time, f.lon, f.lat, f.alt_m, f.speed_mps, f.course_deg, f.accuracy_m, f.attributes
FROM fleet_at($1) AS f JOIN asset a ON a.id = f.asset
WHERE $2::float8 IS NULL
   OR (f.lat BETWEEN $3 AND $5 AND CASE WHEN $2 <= $4 THEN f.lon BETWEEN $2 AND $4 ELSE f.lon >= $2 OR f.lon <= $4 END)
ORDER BY f.asset

-- name: visits_of_asset
-- Those that overlap the time between $4 and $5, after the place ($2, $3) in their order.
SELECT v.id, v.geofence, g.name AS geofence_name, v.enter_time, v.exit_time, v.initial, v.near, n.name AS near_name
FROM visit v JOIN geofence g ON g.id = v.geofence LEFT JOIN asset n ON n.id = v.near
WHERE v.asset = $1 AND (v.enter_time, v.id) > ($2, $3)
  AND ($4::timestamptz IS NULL OR v.exit_time IS NULL OR v.exit_time >= $4)
  AND ($5::timestamptz IS NULL OR v.enter_time <= $5)
  AND ($6::int IS NULL OR v.geofence = $6)
ORDER BY v.enter_time, v.id LIMIT $7
