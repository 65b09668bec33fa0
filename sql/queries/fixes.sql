-- The fixes of one asset as columns, for whoever judges them again. Binary COPY: fields are not null and of fixed width.

-- name: asset_fixes
SELECT f.time, f.batch, f.device, f.lon, f.lat, f.alt, f.speed, f.course, f.accuracy, f.flags, coalesce(d.flags, 0::smallint)
FROM (
    SELECT u.*, j.batch
    FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags)
        AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags)
    WHERE j.bucket = ($1::int & 15)::smallint AND j.t1 >= $2::timestamptz AND j.t0 <= $3::timestamptz AND u.asset = $1::int
      AND j.batch > $4::bigint
    UNION ALL
    SELECT p.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.batch
    FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags)
        AS u (batch, device, time, lon, lat, alt, speed, course, accuracy, flags)
    WHERE p.asset = $1::int AND p.t0 <= $3::timestamptz AND p.t1 >= $2::timestamptz
      AND p.t0 > $2::timestamptz - interval '24 hours' AND u.batch > $4::bigint
) AS f LEFT JOIN doubt d ON d.asset = $1::int AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat
WHERE f.time BETWEEN $2::timestamptz AND $3::timestamptz

-- name: fixes_until
-- A time by which about $4 fixes of an asset from $2 on have passed, $3 at the latest.
SELECT coalesce(min(greatest(p.t0 - interval '1 ms', $2)), $3) AS until
FROM (
    SELECT t0, sum(n) OVER (ORDER BY t0) - n AS before
    FROM (SELECT t0, n FROM piece WHERE asset = $1 AND t0 > $2::timestamptz - interval '24 hours' AND t0 <= $3 AND t1 >= $2
          ORDER BY t0 LIMIT 5001) AS p
) AS p
WHERE p.before >= $4 AND p.t0 > $2

-- name: any_after
-- Whether a fix of an asset that sorts after ($2 … $9) was stored before batch $10.
SELECT EXISTS (
    SELECT FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy)
        AS u (asset, time, lon, lat, alt, speed, course, accuracy)
    WHERE j.bucket = ($1::int & 15)::smallint AND j.t1 >= $2::timestamptz AND j.batch < $10::bigint AND u.asset = $1::int
      AND (u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, j.batch)
          > ($2::timestamptz, $3::int, $4::int, $5::int, $6::int, $7::int, $8::int, $9::bigint)
) OR EXISTS (
    SELECT FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy)
        AS u (batch, time, lon, lat, alt, speed, course, accuracy)
    WHERE p.asset = $1::int AND p.t1 >= $2::timestamptz AND p.t0 > $2::timestamptz - interval '24 hours' AND u.batch < $10::bigint
      AND (u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.batch)
          > ($2::timestamptz, $3::int, $4::int, $5::int, $6::int, $7::int, $8::int, $9::bigint)
)
