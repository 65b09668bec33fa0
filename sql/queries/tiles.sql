-- What tiles show of history: first where pieces and sealed rows lie, then the fixes of those that must be opened.

-- name: tile_patience
-- For the statements of one transaction.
SELECT set_config('statement_timeout', $1, true)

-- name: tile_heads
-- Where the fixes of assets $1 (null: of all) between $2 and $3 are filed: those whose box meets the one of $4 west, $5 south, $6 east,
-- $7 north, at most $8. Binary COPY.
(SELECT 0::smallint, p.asset, p.t0, p.t1, p.n, p.west, p.south, p.east, p.north, (0 = ALL (p.flags))::int
 FROM piece p
 WHERE ($1::int[] IS NULL OR p.asset = ANY ($1::int[])) AND p.t0 <= $3::timestamptz AND p.t1 >= $2::timestamptz
   AND p.t0 > $2::timestamptz - interval '24 hours' AND p.west <= $6::int AND p.east >= $4::int AND p.south <= $7::int AND p.north >= $5::int
 LIMIT $8::int)
UNION ALL
(SELECT 1::smallint, s.asset, s.t0, s.t1, s.n, s.west, s.south, s.east, s.north, s.unflagged::int
 FROM sealed s
 WHERE ($1::int[] IS NULL OR s.asset = ANY ($1::int[])) AND s.t0 <= $3::timestamptz AND s.t1 >= $2::timestamptz
   AND s.t0 > $2::timestamptz - interval '24 hours' AND s.west <= $6::int AND s.east >= $4::int AND s.south <= $7::int AND s.north >= $5::int
 LIMIT $8::int)

-- name: tile_journal
-- The fixes of assets $1 (null: of all) between $2 and $3 that are not filed, at most $4. Binary COPY.
SELECT u.asset, u.time, u.lon, u.lat, u.flags
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat, j.flags) AS u (asset, time, lon, lat, flags)
WHERE j.t1 >= $2::timestamptz AND j.t0 <= $3::timestamptz AND u.time BETWEEN $2::timestamptz AND $3::timestamptz
  AND ($1::int[] IS NULL OR u.asset = ANY ($1::int[]))
LIMIT $4::int

-- name: tile_doubts
-- What neighbours say of fixes of assets $1 (null: of all) between $2 and $3, at most $4. Binary COPY.
SELECT asset, time, lon, lat, flags FROM doubt
WHERE ($1::int[] IS NULL OR asset = ANY ($1::int[])) AND time BETWEEN $2::timestamptz AND $3::timestamptz LIMIT $4::int

-- name: tile_fixes
-- The pieces that begin at $2[i] of asset $1[i], and the sealed rows at $4[i] of asset $3[i]. Binary COPY, in the shape of all that
-- reads fixes; the first number is the asset.
SELECT k.asset, p.t0, p.n, NULL::bit varying, p.time, NULL::bigint[], NULL::int[], p.lon, p.lat, NULL::int[], NULL::int[], NULL::smallint[],
       NULL::int[], p.flags
FROM unnest($1::int[], $2::timestamptz[]) AS k (asset, t0) JOIN piece p ON p.asset = k.asset AND p.t0 = k.t0
UNION ALL
SELECT k.asset, s.t0, s.n, s.bits, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($3::int[], $4::timestamptz[]) AS k (asset, t0) JOIN sealed s ON s.asset = k.asset AND s.t0 = k.t0
