-- Sealing: pieces of closed days become sealed rows, a few thousand fixes in a transaction.

-- name: sealer_lock
SELECT pg_advisory_lock($1)

-- name: try_sealer_lock
SELECT pg_try_advisory_lock($1)


-- name: seal_backlog
-- What is to be sealed before an instant.
SELECT coalesce(sum(n), 0)::bigint AS fixes, count(*) AS pieces FROM piece WHERE t0 < $1

-- name: pieces_to_seal
-- After ($1, $2), those that begin before $3.
SELECT asset, t0, t1, n FROM piece WHERE (asset, t0) > ($1::int, $2::timestamptz) AND t0 < $3 ORDER BY asset, t0 LIMIT $4

-- name: pieces_of_span
-- All those of one asset that begin between two instants, the second excluded.
SELECT asset, t0, t1, n FROM piece WHERE asset = $1 AND t0 >= $2 AND t0 < $3 ORDER BY t0

-- name: sealed_of_days
-- The sealed rows of some assets, each in the day that begins at an instant.
SELECT s.asset, s.t0, s.t1, s.n
FROM unnest($1::int[], $2::timestamptz[]) AS d (asset, day)
JOIN sealed s ON s.asset = d.asset AND s.t0 >= d.day AND s.t0 < d.day + interval '24 hours'

-- name: fixes_of_runs
-- What begins in the i-th run, of asset $1[i], from $2[i] to $3[i]. Binary COPY: a piece has arrays, a sealed row n, bits.
SELECT r.nth::int, p.t0, p.n, NULL::bit varying, p.time, p.batch, p.device, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags,
       p.attributes
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS r (asset, since, until, nth)
JOIN piece p ON p.asset = r.asset AND p.t0 BETWEEN r.since AND r.until
UNION ALL
SELECT r.nth::int, s.t0, s.n, s.bits, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, s.attributes
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS r (asset, since, until, nth)
JOIN sealed s ON s.asset = r.asset AND s.t0 BETWEEN r.since AND r.until

-- name: clear_runs
WITH run AS (
    SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS r (asset, since, until)
), pieces AS (
    DELETE FROM piece p USING run r WHERE p.asset = r.asset AND p.t0 BETWEEN r.since AND r.until RETURNING p.n
), rows AS (
    DELETE FROM sealed s USING run r WHERE s.asset = r.asset AND s.t0 BETWEEN r.since AND r.until RETURNING s.n
)
SELECT coalesce((SELECT sum(n) FROM pieces), 0)::bigint + coalesce((SELECT sum(n) FROM rows), 0)::bigint AS fixes

-- name: close_piece_day
SELECT close_piece_day($1)

-- name: vacuum_of
-- The statement that gives the space of a partition back.
SELECT format('VACUUM %I', $1::text)
