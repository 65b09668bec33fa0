-- Trying a geofence on stored history: where the fixes of some assets of one bucket are, and the fixes.

-- name: backtest_pieces
-- What is filed, piece by piece, and what each asset has in the journal. sure: a trusted fix is in it, whatever neighbours say.
SELECT p.asset, p.t0, p.t1, p.n, p.west, p.south, p.east, p.north,
       p.trusted_t0 IS NOT NULL
       AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = p.asset AND d.time BETWEEN p.t0 AND p.t1) AS sure
FROM piece p
WHERE p.asset = ANY ($1::int[]) AND p.t0 <= $3::timestamptz AND p.t1 >= $2::timestamptz AND p.t0 > $2::timestamptz - interval '24 hours'
UNION ALL
SELECT s.asset, s.t0, s.t1, s.n, s.west, s.south, s.east, s.north,
       s.trusted_t0 IS NOT NULL
       AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = s.asset AND d.time BETWEEN s.t0 AND s.t1)
FROM sealed s
WHERE s.asset = ANY ($1::int[]) AND s.t0 <= $3::timestamptz AND s.t1 >= $2::timestamptz AND s.t0 > $2::timestamptz - interval '24 hours'
UNION ALL
SELECT u.asset, min(u.time), max(u.time), count(*)::int, min(u.lon), min(u.lat), max(u.lon), max(u.lat), false
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat) AS u (asset, time, lon, lat)
WHERE j.bucket = $4::smallint AND j.t1 >= $2::timestamptz AND j.t0 <= $3::timestamptz
  AND u.asset = ANY ($1::int[]) AND u.time BETWEEN $2::timestamptz AND $3::timestamptz
GROUP BY u.asset
ORDER BY asset, t0

-- name: backtest_fixes
-- What windows touch, whole: asset $1[i] from $2[i] to $3[i], both inclusive; of the journal, whose bucket is $4, what is in them.
-- Binary COPY, in the shape of all that reads fixes: a sealed row has n and bits, anything else its arrays. The windows count from 1.
WITH w AS MATERIALIZED (
    SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS w (asset, since, until, nth)
)
SELECT w.nth::int, s.t0, s.n, s.bits, NULL::timestamptz[] AS time, NULL::bigint[] AS batch, NULL::int[] AS device, NULL::int[] AS lon,
       NULL::int[] AS lat, NULL::int[] AS alt, NULL::int[] AS speed, NULL::smallint[] AS course, NULL::int[] AS accuracy,
       NULL::smallint[] AS flags
FROM w JOIN sealed s ON s.asset = w.asset AND s.t0 <= w.until AND s.t1 >= w.since AND s.t0 > w.since - interval '24 hours'
UNION ALL
SELECT w.nth::int, p.t0, p.n, NULL, p.time, p.batch, p.device, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags
FROM w JOIN piece p ON p.asset = w.asset AND p.t0 <= w.until AND p.t1 >= w.since AND p.t0 > w.since - interval '24 hours'
UNION ALL
SELECT w.nth::int, min(u.time), count(*)::int, NULL, array_agg(u.time), array_agg(j.batch), array_agg(u.device), array_agg(u.lon),
       array_agg(u.lat), array_agg(u.alt), array_agg(u.speed), array_agg(u.course), array_agg(u.accuracy), array_agg(u.flags)
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags)
    AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags)
JOIN w ON w.asset = u.asset AND u.time BETWEEN w.since AND w.until
WHERE j.bucket = $4::smallint
GROUP BY w.nth

-- name: backtest_doubts
-- What neighbours say of the fixes of some assets in a span.
SELECT asset, time, lon, lat, flags FROM doubt WHERE asset = ANY ($1::int[]) AND time BETWEEN $2 AND $3
