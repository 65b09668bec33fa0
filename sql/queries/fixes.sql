-- The fixes of one asset as columns, for whoever judges them again.

-- name: asset_fixes
-- Of asset $1 between $2 and $3, and what is stored beside them in the same rows; with $4 only what has fixes stored after that batch.
-- Binary COPY: a sealed row comes as it is, with n and bits, pieces as their arrays, the journal's as one piece, doubts as one
-- more, whose number is 1.
SELECT 0, s.t0, s.n, s.bits, NULL::timestamptz[] AS time, NULL::bigint[] AS batch, NULL::int[] AS device, NULL::int[] AS lon, NULL::int[] AS lat,
       NULL::int[] AS alt, NULL::int[] AS speed, NULL::smallint[] AS course, NULL::int[] AS accuracy, NULL::smallint[] AS flags
FROM sealed s
WHERE s.asset = $1::int AND s.t0 <= $3::timestamptz AND s.t1 >= $2::timestamptz AND s.t0 > $2::timestamptz - interval '24 hours'
  AND s.last_batch > $4::bigint
UNION ALL
SELECT 0, p.t0, p.n, NULL, p.time, p.batch, p.device, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags
FROM piece p
WHERE p.asset = $1::int AND p.t0 <= $3::timestamptz AND p.t1 >= $2::timestamptz AND p.t0 > $2::timestamptz - interval '24 hours'
  AND ($4::bigint < 0 OR $4::bigint < ANY (p.batch))
UNION ALL
SELECT 0, min(u.time), count(*)::int, NULL, array_agg(u.time), array_agg(j.batch), array_agg(u.device), array_agg(u.lon), array_agg(u.lat),
       array_agg(u.alt), array_agg(u.speed), array_agg(u.course), array_agg(u.accuracy), array_agg(u.flags)
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags)
    AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags)
WHERE j.bucket = ($1::int & 15)::smallint AND j.t1 >= $2::timestamptz AND j.t0 <= $3::timestamptz AND u.asset = $1::int
  AND j.batch > $4::bigint
HAVING count(*) > 0
UNION ALL
SELECT 1, min(d.time), count(*)::int, NULL, array_agg(d.time), array_agg(0::bigint), array_agg(0), array_agg(d.lon), array_agg(d.lat),
       array_agg(0), array_agg(0), array_agg(0::smallint), array_agg(0), array_agg(d.flags)
FROM doubt d WHERE d.asset = $1::int AND d.time BETWEEN $2::timestamptz AND $3::timestamptz
HAVING count(*) > 0

-- name: fixes_until
-- A time by which about $4 fixes of an asset from $2 on have passed, $3 at the latest.
SELECT coalesce(min(greatest(p.t0 - interval '1 ms', $2)), $3) AS until
FROM (
    SELECT t0, sum(n) OVER (ORDER BY t0) - n AS before
    FROM (
        (SELECT t0, n FROM piece WHERE asset = $1 AND t0 > $2::timestamptz - interval '24 hours' AND t0 <= $3 AND t1 >= $2
         ORDER BY t0 LIMIT 5001)
        UNION ALL
        (SELECT t0, n FROM sealed WHERE asset = $1 AND t0 > $2::timestamptz - interval '24 hours' AND t0 <= $3 AND t1 >= $2
         ORDER BY t0 LIMIT 5001)
        ORDER BY t0 LIMIT 5001
    ) AS p
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
) OR EXISTS (
    SELECT FROM sealed s CROSS JOIN LATERAL unseal(s.t0, s.n, s.bits, s.attributes) AS u
    WHERE s.asset = $1::int AND s.t1 >= $2::timestamptz AND s.t0 > $2::timestamptz - interval '24 hours' AND u.batch < $10::bigint
      AND (u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.batch)
          > ($2::timestamptz, $3::int, $4::int, $5::int, $6::int, $7::int, $8::int, $9::bigint)
)
