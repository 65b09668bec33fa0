-- name: filer_lock
SELECT pg_advisory_lock($1)

-- name: hold_bucket
-- Until the end of the transaction; a statement of its own, so that the one after it sees what was corrected before. Whoever
-- moves the fixes of a bucket holds it, and so does whoever corrects what of them is trusted.
SELECT pg_advisory_xact_lock($1::int, $2::int)

-- name: make_piece_days
SELECT make_piece_days((now() AT TIME ZONE 'UTC')::date)

-- name: journal_backlog
-- What each bucket holds: fixes, rows, and the age of its oldest batch.
SELECT bucket, sum(n)::bigint AS fixes, count(*) AS batches, min(batch) AS oldest,
       extract(epoch FROM now() - min(recorded_at))::float8 AS age_s
FROM journal GROUP BY bucket ORDER BY bucket

-- name: filing_limit
-- The highest batch of a bucket that keeps one filing within a number of fixes; at least one batch.
SELECT max(batch) AS batch FROM (
    SELECT batch, sum(n) OVER (ORDER BY batch) AS fixes, row_number() OVER (ORDER BY batch) AS position
    FROM journal WHERE bucket = $1::smallint AND batch <= $3
) AS j WHERE fixes <= $2 OR position = 1

-- name: find_by_index
-- Until the end of the transaction: whatever is believed of a day's partition that has never been analysed.
SELECT set_config('enable_seqscan', 'off', true), set_config('work_mem', '64MB', true)

-- name: file_bucket
-- Journal to pieces in one statement: every snapshot sees each fix exactly once. With the rows go the cursors of the streams,
-- the newest fixes of the assets and the number of the batch. Pieces of fewer than 60 fixes grow by what comes for their day.
WITH taken AS (
    DELETE FROM journal WHERE bucket = $1::smallint AND batch <= $2 RETURNING *
), doubted AS MATERIALIZED (
    SELECT d.asset, d.time, d.lon, d.lat
    FROM (SELECT unnest(asset) AS asset FROM taken GROUP BY 1) AS a
    JOIN doubt d ON d.asset = a.asset AND d.time BETWEEN (SELECT min(t0) FROM taken) AND (SELECT max(t1) FROM taken)
), fix AS MATERIALIZED (
    SELECT s.*, date_bin('1 day', time, '0001-01-01Z') AS day,
           s.flags = 0 AND (s.asset, s.time, s.lon, s.lat) NOT IN (SELECT asset, time, lon, lat FROM doubted) AS trusted
    FROM (SELECT batch, unnest(asset) AS asset, unnest(device) AS device, unnest(time) AS time, unnest(lon) AS lon, unnest(lat) AS lat,
                 unnest(alt) AS alt, unnest(speed) AS speed, unnest(course) AS course, unnest(accuracy) AS accuracy,
                 unnest(flags) AS flags, unnest(attributes) AS attributes
          FROM taken) AS s
), days AS MATERIALIZED (
    SELECT asset, day, max(time) AS any_time, max(time) FILTER (WHERE trusted) AS time, max(batch) AS any_seen,
           max(batch) FILTER (WHERE trusted) AS seen
    FROM fix GROUP BY asset, day
), small AS (
    DELETE FROM piece p USING days
    WHERE p.asset = days.asset AND p.t0 >= days.day AND p.t0 < days.day + interval '24 hours' AND p.n < 60
    RETURNING p.*
), grown AS (
    SELECT asset, unnest(batch) AS batch, unnest(device) AS device, unnest(time) AS time, unnest(lon) AS lon, unnest(lat) AS lat,
           unnest(alt) AS alt, unnest(speed) AS speed, unnest(course) AS course, unnest(accuracy) AS accuracy, unnest(flags) AS flags,
           unnest(attributes) AS attributes
    FROM small
), pieces AS (
    INSERT INTO piece (asset, t0, t1, trusted_t0, n, west, south, east, north, batch, device, time, lon, lat, alt, speed, course,
                       accuracy, flags, attributes)
    SELECT asset, min(time), max(time), min(time) FILTER (WHERE trusted), count(*), min(lon), min(lat), max(lon), max(lat),
           array_agg(batch), array_agg(device), array_agg(time), array_agg(lon), array_agg(lat), array_agg(alt), array_agg(speed),
           array_agg(course), array_agg(accuracy), array_agg(flags),
           CASE WHEN count(attributes) > 0 THEN array_agg(attributes) END
    FROM (SELECT asset, day, batch, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes, trusted FROM fix
          UNION ALL
          SELECT g.asset, date_bin('1 day', g.time, '0001-01-01Z'), g.batch, g.device, g.time, g.lon, g.lat, g.alt, g.speed, g.course,
                 g.accuracy, g.flags, g.attributes, g.flags = 0 AND d.asset IS NULL
          FROM grown g LEFT JOIN doubt d ON d.asset = g.asset AND d.time = g.time AND d.lon = g.lon AND d.lat = g.lat
          ORDER BY asset, day, time, lon, lat, batch) AS ordered
    GROUP BY asset, day
), cursors AS (
    UPDATE stream s SET seq = greatest(s.seq, e.seq), gaps = s.gaps + e.gaps
    FROM (SELECT x.stream, max(x.seq) AS seq, sum(x.gaps)::bigint AS gaps
          FROM taken t CROSS JOIN LATERAL unnest(t.stream, t.stream_seq, t.stream_gaps) AS x (stream, seq, gaps)
          GROUP BY x.stream) AS e
    WHERE s.id = e.stream
), ends AS MATERIALIZED (
    SELECT f.* FROM fix f JOIN days d ON d.asset = f.asset AND d.day = f.day AND (d.any_time = f.time OR d.time = f.time)
), newest AS (
    INSERT INTO latest AS l (asset, any_time, any_lon, any_lat, any_alt, any_speed, any_course, any_accuracy, any_batch, any_seen,
                             time, lon, lat, batch, device, alt, speed, course, accuracy, attributes, seen)
    SELECT a.asset, a.time, a.lon, a.lat, a.alt, a.speed, a.course, a.accuracy, a.batch, s.any_seen,
           t.time, t.lon, t.lat, t.batch, t.device, t.alt, t.speed, t.course, t.accuracy, t.attributes, s.seen
    FROM (SELECT DISTINCT ON (asset) * FROM ends
          ORDER BY asset, time DESC, lon DESC, lat DESC, alt, speed, course, accuracy, batch) AS a
    FULL JOIN (SELECT asset, max(any_seen) AS any_seen, max(seen) AS seen FROM days GROUP BY asset) AS s ON s.asset = a.asset
    FULL JOIN (SELECT DISTINCT ON (asset) * FROM ends WHERE trusted
               ORDER BY asset, time DESC, lon DESC, lat DESC, alt, speed, course, accuracy, batch) AS t ON t.asset = a.asset
    ON CONFLICT (asset) DO UPDATE SET
        (any_time, any_lon, any_lat, any_alt, any_speed, any_course, any_accuracy, any_batch) = (SELECT * FROM (VALUES
            (l.any_time, l.any_lon, l.any_lat, l.any_alt, l.any_speed, l.any_course, l.any_accuracy, l.any_batch),
            (excluded.any_time, excluded.any_lon, excluded.any_lat, excluded.any_alt, excluded.any_speed, excluded.any_course,
             excluded.any_accuracy, excluded.any_batch)) AS v (t, x, y, a, s, c, r, b)
            ORDER BY t DESC, x DESC, y DESC, a, s, c, r, b LIMIT 1),
        (time, lon, lat, batch, device, alt, speed, course, accuracy, attributes) = (SELECT * FROM (VALUES
            (l.time, l.lon, l.lat, l.batch, l.device, l.alt, l.speed, l.course, l.accuracy, l.attributes),
            (excluded.time, excluded.lon, excluded.lat, excluded.batch, excluded.device, excluded.alt, excluded.speed,
             excluded.course, excluded.accuracy, excluded.attributes)) AS v (t, x, y, b, d, a, s, c, r, j)
            ORDER BY t DESC NULLS LAST, x DESC, y DESC, a, s, c, r, b LIMIT 1),
        any_seen = greatest(l.any_seen, excluded.any_seen),
        seen = greatest(l.seen, excluded.seen)
), high AS (
    UPDATE filed SET batch = greatest(batch, (SELECT max(batch) FROM taken)) WHERE EXISTS (SELECT FROM taken)
)
SELECT coalesce(sum(n), 0)::bigint AS fixes, count(*) AS batches FROM taken
