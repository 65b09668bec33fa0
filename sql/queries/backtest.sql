-- Trying a geofence on stored history: where the fixes of some assets of one bucket are, and the fixes.

-- name: backtest_pieces
-- What is filed, piece by piece, and what each asset has in the journal. sure: a trusted fix is in it, whatever neighbours say.
SELECT p.asset, p.t0, p.t1, p.n, p.west, p.south, p.east, p.north,
       p.trusted_t0 IS NOT NULL
       AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = p.asset AND d.time BETWEEN p.t0 AND p.t1) AS sure
FROM piece p
WHERE p.asset = ANY ($1::int[]) AND p.t0 <= $3::timestamptz AND p.t1 >= $2::timestamptz AND p.t0 > $2::timestamptz - interval '24 hours'
UNION ALL
SELECT u.asset, min(u.time), max(u.time), count(*)::int, min(u.lon), min(u.lat), max(u.lon), max(u.lat), false
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat) AS u (asset, time, lon, lat)
WHERE j.bucket = $4::smallint AND j.t1 >= $2::timestamptz AND j.t0 <= $3::timestamptz
  AND u.asset = ANY ($1::int[]) AND u.time BETWEEN $2::timestamptz AND $3::timestamptz
GROUP BY u.asset
ORDER BY asset, t0

-- name: backtest_filed
-- The pieces that windows touch, whole: asset $1[i] from $2[i] to $3[i], both inclusive. Binary COPY: the arrays are not null, and nothing
-- in them is; `nth` of the windows counts from 1.
SELECT w.nth::int, p.asset, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS w (asset, since, until, nth)
JOIN piece p ON p.asset = w.asset AND p.t0 <= w.until AND p.t1 >= w.since AND p.t0 > w.since - interval '24 hours'

-- name: backtest_unfiled
-- The same of the journal of bucket $4, gathered to one piece for each window.
SELECT w.nth::int, u.asset, array_agg(u.time), array_agg(u.lon), array_agg(u.lat), array_agg(u.alt), array_agg(u.speed),
       array_agg(u.course), array_agg(u.accuracy), array_agg(u.flags)
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags)
    AS u (asset, time, lon, lat, alt, speed, course, accuracy, flags)
JOIN unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS w (asset, since, until, nth)
  ON w.asset = u.asset AND u.time BETWEEN w.since AND w.until
WHERE j.bucket = $4::smallint
GROUP BY w.nth, u.asset

-- name: backtest_doubts
-- What neighbours say of the fixes of some assets in a span.
SELECT asset, time, lon, lat, flags FROM doubt WHERE asset = ANY ($1::int[]) AND time BETWEEN $2 AND $3
