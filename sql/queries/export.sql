-- The fixes of one asset with all that is known of them, for whoever carries them away.

-- name: export_fixes
-- Of asset $1 between $2 and $3, and what is stored beside them in the same rows. Binary COPY: a sealed row comes as it is, with n and
-- bits, pieces as their arrays, the journal's as one piece, doubts as one more, whose number is 1; attributes at last.
SELECT 0, s.t0, s.n, s.bits, NULL::timestamptz[] AS time, NULL::bigint[] AS batch, NULL::int[] AS device, NULL::int[] AS lon, NULL::int[] AS lat,
       NULL::int[] AS alt, NULL::int[] AS speed, NULL::smallint[] AS course, NULL::int[] AS accuracy, NULL::smallint[] AS flags, s.attributes
FROM sealed s
WHERE s.asset = $1::int AND s.t0 <= $3::timestamptz AND s.t1 >= $2::timestamptz AND s.t0 > $2::timestamptz - interval '24 hours'
UNION ALL
SELECT 0, p.t0, p.n, NULL, p.time, p.batch, p.device, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags, p.attributes
FROM piece p
WHERE p.asset = $1::int AND p.t0 <= $3::timestamptz AND p.t1 >= $2::timestamptz AND p.t0 > $2::timestamptz - interval '24 hours'
UNION ALL
SELECT 0, min(u.time), count(*)::int, NULL, array_agg(u.time), array_agg(j.batch), array_agg(u.device), array_agg(u.lon), array_agg(u.lat),
       array_agg(u.alt), array_agg(u.speed), array_agg(u.course), array_agg(u.accuracy), array_agg(u.flags), array_agg(u.attributes)
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags, j.attributes)
    AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
WHERE j.bucket = ($1::int & 15)::smallint AND j.t1 >= $2::timestamptz AND j.t0 <= $3::timestamptz AND u.asset = $1::int
  AND u.time BETWEEN $2::timestamptz AND $3::timestamptz
HAVING count(*) > 0
UNION ALL
SELECT 1, min(d.time), count(*)::int, NULL, array_agg(d.time), array_agg(0::bigint), array_agg(0), array_agg(d.lon), array_agg(d.lat),
       array_agg(0), array_agg(0), array_agg(0::smallint), array_agg(0), array_agg(d.flags), NULL
FROM doubt d WHERE d.asset = $1::int AND d.time BETWEEN $2::timestamptz AND $3::timestamptz
HAVING count(*) > 0
