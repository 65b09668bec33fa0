-- The past is read sooner: by indexes that know where rows end, by plans that are made once a session, and by looking into rows where the
-- fix that is asked for must be. All that is read stays the same.

-- With t1 in the key, rows that end too soon are told in the index: a day of an asset may be a thousand rows, of which one is wanted.
DROP INDEX piece_asset;
CREATE INDEX piece_asset ON piece (asset, t0, t1);
DROP INDEX sealed_asset;
CREATE INDEX sealed_asset ON sealed (asset, t0, t1) INCLUDE (n, west, south, east, north, unflagged);
-- Those that may reach over many others.
CREATE INDEX piece_long ON piece (asset, t0, t1) WHERE t1 - t0 > interval '1 hour';
-- Whoever looks for an instant reads the times of every piece, and nothing else of most: they stay in the row, and others leave it first.
ALTER TABLE piece ALTER COLUMN time SET STORAGE MAIN;

-- Sealed rows -----------------------------------------------------------------------------------------------------------------

-- As before, but the head is read once a row. Its format stands at the same function in 0012_sealing.sql.
CREATE OR REPLACE FUNCTION unseal(t0 timestamptz, n int, bits bit varying, extras jsonb[])
RETURNS TABLE (batch bigint, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               flags smallint, attributes jsonb)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 200 SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    time_kind int := substring(bits FROM 1 FOR 8)::int;
    batch_kind int := substring(bits FROM 73 FOR 8)::int;
    device_w int := substring(bits FROM 145 FOR 8)::int & 63;
    lon_kind int := substring(bits FROM 217 FOR 8)::int;
    lat_kind int := substring(bits FROM 289 FOR 8)::int;
    alt_kind int := substring(bits FROM 361 FOR 8)::int;
    speed_kind int := substring(bits FROM 433 FOR 8)::int;
    course_kind int := substring(bits FROM 505 FOR 8)::int;
    accuracy_kind int := substring(bits FROM 577 FOR 8)::int;
    flags_w int := substring(bits FROM 649 FOR 8)::int & 63;
    extra_w int := substring(bits FROM 721 FOR 8)::int & 63;
    time_w int := time_kind & 63;
    batch_w int := batch_kind & 63;
    lon_w int := lon_kind & 63;
    lat_w int := lat_kind & 63;
    alt_w int := alt_kind & 63;
    speed_w int := speed_kind & 63;
    course_w int := course_kind & 63;
    accuracy_w int := accuracy_kind & 63;
    batch_at int := 825 + n * time_w;
    device_at int := batch_at + n * batch_w;
    lon_at int := device_at + n * device_w;
    lat_at int := lon_at + n * lon_w;
    alt_at int := lat_at + n * lat_w;
    speed_at int := alt_at + n * alt_w;
    course_at int := speed_at + n * speed_w;
    accuracy_at int := course_at + n * course_w;
    flags_at int := accuracy_at + n * accuracy_w;
    extra_at int := flags_at + n * flags_w;
    batch_base bigint := (substring(bits FROM 793 FOR 32)::int::bigint << 32) + substring(bits FROM 81 FOR 32)::bigint;
    time_base int := substring(bits FROM 9 FOR 32)::int;
    device_base int := substring(bits FROM 153 FOR 32)::int;
    lon_base int := substring(bits FROM 225 FOR 32)::int;
    lat_base int := substring(bits FROM 297 FOR 32)::int;
    alt_base int := substring(bits FROM 369 FOR 32)::int;
    speed_base int := substring(bits FROM 441 FOR 32)::int;
    course_base int := substring(bits FROM 513 FOR 32)::int;
    accuracy_base int := substring(bits FROM 585 FOR 32)::int;
    flags_base int := substring(bits FROM 657 FOR 32)::int;
    extra_base int := substring(bits FROM 729 FOR 32)::int;
    time_summed boolean := time_kind & 64 > 0;
    batch_summed boolean := batch_kind & 64 > 0;
    lon_summed boolean := lon_kind & 64 > 0;
    lat_summed boolean := lat_kind & 64 > 0;
    alt_summed boolean := alt_kind & 64 > 0;
    speed_summed boolean := speed_kind & 64 > 0;
    course_summed boolean := course_kind & 64 > 0;
    accuracy_summed boolean := accuracy_kind & 64 > 0;
    time_step int := substring(bits FROM 41 FOR 32)::int;
    batch_step int := substring(bits FROM 113 FOR 32)::int;
    lon_step int := substring(bits FROM 257 FOR 32)::int;
    lat_step int := substring(bits FROM 329 FOR 32)::int;
    alt_step int := substring(bits FROM 401 FOR 32)::int;
    speed_step int := substring(bits FROM 473 FOR 32)::int;
    course_step int := substring(bits FROM 545 FOR 32)::int;
    accuracy_step int := substring(bits FROM 617 FOR 32)::int;
    alt_unknown int := CASE WHEN alt_kind > 127 THEN alt_base ELSE -2147483648 END;
    speed_unknown int := CASE WHEN speed_kind > 127 THEN speed_base ELSE -2147483648 END;
    course_unknown int := CASE WHEN course_kind > 127 THEN course_base ELSE -32768 END;
    accuracy_unknown int := CASE WHEN accuracy_kind > 127 THEN accuracy_base ELSE -2147483648 END;
BEGIN
    RETURN QUERY
    SELECT unpacked(bits, batch_at, batch_w, s.i, batch_base, batch_step, batch_summed, s.batch),
           (device_base + packed(bits, device_at, device_w, s.i))::int,
           t0 + unpacked(bits, 825, time_w, s.i, time_base, time_step, time_summed, s.time) * interval '1 ms',
           unpacked(bits, lon_at, lon_w, s.i, lon_base, lon_step, lon_summed, s.lon)::int,
           unpacked(bits, lat_at, lat_w, s.i, lat_base, lat_step, lat_summed, s.lat)::int,
           coalesce(nullif(unpacked(bits, alt_at, alt_w, s.i, alt_base, alt_step, alt_summed, s.alt), alt_unknown), -2147483648)::int,
           coalesce(nullif(unpacked(bits, speed_at, speed_w, s.i, speed_base, speed_step, speed_summed, s.speed), speed_unknown), -2147483648)::int,
           coalesce(nullif(unpacked(bits, course_at, course_w, s.i, course_base, course_step, course_summed, s.course), course_unknown), -32768)::smallint,
           coalesce(nullif(unpacked(bits, accuracy_at, accuracy_w, s.i, accuracy_base, accuracy_step, accuracy_summed, s.accuracy), accuracy_unknown), -2147483648)::int,
           (flags_base + packed(bits, flags_at, flags_w, s.i))::smallint,
           extras[(extra_base + packed(bits, extra_at, extra_w, s.i))::int]
    FROM (
        SELECT i,
               sum(CASE WHEN time_summed THEN packed(bits, 825, time_w, i)::int END) OVER w AS time,
               sum(CASE WHEN batch_summed THEN packed(bits, batch_at, batch_w, i)::int END) OVER w AS batch,
               sum(CASE WHEN lon_summed THEN packed(bits, lon_at, lon_w, i)::int END) OVER w AS lon,
               sum(CASE WHEN lat_summed THEN packed(bits, lat_at, lat_w, i)::int END) OVER w AS lat,
               sum(CASE WHEN alt_summed THEN packed(bits, alt_at, alt_w, i)::int END) OVER w AS alt,
               sum(CASE WHEN speed_summed THEN packed(bits, speed_at, speed_w, i)::int END) OVER w AS speed,
               sum(CASE WHEN course_summed THEN packed(bits, course_at, course_w, i)::int END) OVER w AS course,
               sum(CASE WHEN accuracy_summed THEN packed(bits, accuracy_at, accuracy_w, i)::int END) OVER w AS accuracy
        FROM generate_series(0, n - 1) AS i
        WINDOW w AS (ORDER BY i ROWS UNBOUNDED PRECEDING)
    ) AS s;
END $$;
ALTER FUNCTION unseal_places SET plan_cache_mode = force_generic_plan;

-- The fixes of one asset between two instants -----------------------------------------------------------------------------

-- Rows that hold an asset are told by its number alone, and of these only its own fixes are taken out.
-- PL/pgSQL keeps one plan a session: making one for each call took longer than reading some minutes of an asset.
CREATE OR REPLACE FUNCTION stored_fixes(of_asset int, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (batch bigint, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               flags smallint, attributes jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT j.batch, j.device[i], j.time[i], j.lon[i], j.lat[i], j.alt[i], j.speed[i], j.course[i], j.accuracy[i], j.flags[i], j.attributes[i]
    FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, of_asset)) AS i
    WHERE j.bucket = (of_asset & 15)::smallint AND j.t1 >= from_time AND j.t0 <= to_time AND of_asset = ANY (j.asset)
      AND j.time[i] BETWEEN from_time AND to_time
    UNION ALL
    SELECT u.*
    FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
        p.flags, p.attributes) AS u (batch, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
    WHERE p.asset = of_asset AND p.t0 <= to_time AND p.t1 >= from_time AND p.t0 > from_time - interval '24 hours'
      AND u.time BETWEEN from_time AND to_time
    UNION ALL
    SELECT u.*
    FROM sealed s CROSS JOIN LATERAL unseal(s.t0, s.n, s.bits, s.attributes) AS u
    WHERE s.asset = of_asset AND s.t0 <= to_time AND s.t1 >= from_time AND s.t0 > from_time - interval '24 hours'
      AND u.time BETWEEN from_time AND to_time;
END $$;

CREATE OR REPLACE FUNCTION track(of_asset int, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8, course_deg float8,
               accuracy_m float8, flags smallint, attributes jsonb, batch bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8,
           nullif(f.alt, -2147483648) / 10.0::float8, nullif(f.speed, -2147483648) / 100.0::float8,
           nullif(f.course, -32768) / 10.0::float8, nullif(f.accuracy, -2147483648) / 10.0::float8,
           f.flags | coalesce(d.flags, 0::smallint), f.attributes, f.batch
    FROM stored_fixes(of_asset, from_time, to_time) AS f
    LEFT JOIN doubt d ON d.asset = of_asset AND d.time BETWEEN from_time AND to_time
                     AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat
    ORDER BY f.time, f.lon, f.lat, f.batch;
END $$;

-- Every fix in a box, or in any area, between two instants, all of them inclusive.
CREATE OR REPLACE FUNCTION fixes_within(bounds geometry, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (asset int, device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8,
               course_deg float8, accuracy_m float8, flags smallint, attributes jsonb, batch bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    low_x CONSTANT int := floor(greatest(ST_XMin(bounds), -180) * 1e7);
    low_y CONSTANT int := floor(greatest(ST_YMin(bounds), -90) * 1e7);
    high_x CONSTANT int := ceil(least(ST_XMax(bounds), 180) * 1e7);
    high_y CONSTANT int := ceil(least(ST_YMax(bounds), 90) * 1e7);
    upright CONSTANT boolean := ST_Equals(bounds, ST_Envelope(bounds));   -- a box: no geometry need be made of each fix
BEGIN
    RETURN QUERY
    WITH near AS (
        SELECT j.asset[i], j.device[i], j.time[i], j.lon[i], j.lat[i], j.alt[i], j.speed[i], j.course[i], j.accuracy[i], j.flags[i],
               j.attributes[i], j.batch
        FROM journal j CROSS JOIN LATERAL unnest(ARRAY(
            SELECT u.i FROM (SELECT unnest(j.lon) AS lon, unnest(j.lat) AS lat, generate_subscripts(j.lon, 1) AS i) AS u
            WHERE u.lon BETWEEN low_x AND high_x AND u.lat BETWEEN low_y AND high_y
        )) AS i
        WHERE j.t1 >= from_time AND j.t0 <= to_time
        UNION ALL
        SELECT p.asset, u.*
        FROM piece p CROSS JOIN LATERAL unnest(p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags, p.attributes,
            p.batch) AS u (device, time, lon, lat, alt, speed, course, accuracy, flags, attributes, batch)
        WHERE p.west <= high_x AND p.east >= low_x AND p.south <= high_y AND p.north >= low_y
          AND p.t0 <= to_time AND p.t1 >= from_time AND p.t0 > from_time - interval '24 hours'
          AND u.lon BETWEEN low_x AND high_x AND u.lat BETWEEN low_y AND high_y
        UNION ALL
        SELECT s.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes, u.batch
        FROM (
            SELECT s.* FROM sealed s
            WHERE span_box(s.west, s.south, s.east, s.north, s.t0, s.t1) &&& span_box(low_x, low_y, high_x, high_y, from_time, to_time)
              AND s.west <= high_x AND s.east >= low_x AND s.south <= high_y AND s.north >= low_y
              AND s.t0 <= to_time AND s.t1 >= from_time
              AND EXISTS (SELECT FROM unseal_places(s.t0, s.n, s.bits) AS p
                          WHERE p.time BETWEEN from_time AND to_time AND p.lon BETWEEN low_x AND high_x AND p.lat BETWEEN low_y AND high_y)
            OFFSET 0
        ) AS s CROSS JOIN LATERAL unseal(s.t0, s.n, s.bits, s.attributes) AS u
        WHERE u.lon BETWEEN low_x AND high_x AND u.lat BETWEEN low_y AND high_y
    )
    SELECT f.asset, f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8,
           nullif(f.alt, -2147483648) / 10.0::float8, nullif(f.speed, -2147483648) / 100.0::float8,
           nullif(f.course, -32768) / 10.0::float8, nullif(f.accuracy, -2147483648) / 10.0::float8,
           f.flags | coalesce(d.flags, 0::smallint), f.attributes, f.batch
    FROM near AS f (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes, batch)
    LEFT JOIN doubt d ON d.time BETWEEN from_time AND to_time
                     AND d.asset = f.asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat
    WHERE f.time BETWEEN from_time AND to_time
      AND CASE WHEN upright THEN f.lon / 1e7::float8 BETWEEN ST_XMin(bounds) AND ST_XMax(bounds)
                             AND f.lat / 1e7::float8 BETWEEN ST_YMin(bounds) AND ST_YMax(bounds)
               ELSE ST_Intersects(bounds, ST_SetSRID(ST_MakePoint(f.lon / 1e7::float8, f.lat / 1e7::float8), 4326)) END;
END $$;

-- The fleet at an instant ----------------------------------------------------------------------------------------------------

-- Where assets were at an instant by the pieces: the newest trusted fix of each not after it. Of each the newest piece that has a trusted
-- fix by then is looked into by bisection. Only where the fix that is there is not trusted, or another piece reaches as far, everything
-- that may have it is opened.
CREATE FUNCTION filed_at(at timestamptz)
RETURNS TABLE (asset int, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               attributes jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000 SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH newest AS MATERIALIZED (
        SELECT a.id AS asset, p.*,
               p.flags <> 0
               OR EXISTS (SELECT FROM doubt d WHERE d.asset = a.id AND d.time = p.time AND d.lon = p.lon AND d.lat = p.lat OFFSET 0)
               OR EXISTS (SELECT FROM piece o WHERE o.asset = a.id AND o.t0 BETWEEN p.time - interval '1 hour' AND p.t0 AND o.t1 >= p.time
                          AND (o.tableoid, o.ctid) <> (p.part, p.place))
               OR EXISTS (SELECT FROM piece o WHERE o.asset = a.id AND o.t0 > p.time - interval '24 hours' AND o.t0 <= p.t0
                          AND o.t1 >= p.time AND o.t1 - o.t0 > interval '1 hour' AND (o.tableoid, o.ctid) <> (p.part, p.place)) AS unsure
        FROM asset a CROSS JOIN LATERAL (
            SELECT p.tableoid AS part, p.ctid AS place, p.t0, p.trusted_t0, p.device[i] AS device, p.time[i] AS time, p.lon[i] AS lon,
                   p.lat[i] AS lat, p.alt[i] AS alt, p.speed[i] AS speed, p.course[i] AS course, p.accuracy[i] AS accuracy,
                   p.attributes[i] AS attributes, p.flags[i] AS flags
            FROM piece p CROSS JOIN LATERAL (SELECT width_bucket(at, p.time) AS i OFFSET 0) AS i
            WHERE p.asset = a.id AND p.t0 <= at AND p.trusted_t0 <= at ORDER BY p.t0 DESC LIMIT 1
        ) AS p
        WHERE a.deleted_at IS NULL
    )
    SELECT n.asset, n.device, n.time, n.lon, n.lat, n.alt, n.speed, n.course, n.accuracy, n.attributes FROM newest n WHERE NOT n.unsure
    UNION ALL
    SELECT n.asset, f.*
    FROM newest n CROSS JOIN LATERAL (
        SELECT u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.attributes
        FROM piece p CROSS JOIN LATERAL unnest(p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
            p.flags, p.attributes) AS u (device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE p.asset = n.asset AND p.t0 <= at AND p.t1 >= n.trusted_t0
          AND p.t0 >= date_trunc('day', n.trusted_t0, 'UTC') AND u.flags = 0 AND u.time <= at
          AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = p.asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat)
        ORDER BY u.time DESC, u.lon DESC, u.lat DESC LIMIT 1
    ) AS f
    WHERE n.unsure;
END $$;

-- The same by the journal and the pieces.
CREATE OR REPLACE FUNCTION loose_at(at timestamptz)
RETURNS TABLE (asset int, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               attributes jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000 SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    -- Of the journal first the newest time of each asset, then the fixes of that time.
    WITH newest AS MATERIALIZED (
        SELECT u.asset, max(u.time) AS time
        FROM (SELECT unnest(j.asset) AS asset, unnest(j.time) AS time, unnest(j.flags) AS flags FROM journal j WHERE j.t0 <= at) AS u
        WHERE u.flags = 0 AND u.time <= at
        GROUP BY u.asset
    ), unfiled AS MATERIALIZED (
        SELECT n.asset, j.device[i], j.time[i], j.lon[i], j.lat[i], j.alt[i], j.speed[i], j.course[i], j.accuracy[i], j.attributes[i],
               EXISTS (SELECT FROM doubt d WHERE d.asset = n.asset AND d.time = n.time AND d.lon = j.lon[i] AND d.lat = j.lat[i] OFFSET 0) AS doubted
        FROM (SELECT j.*, unnest(j.asset) AS each_asset, unnest(j.time) AS each_time, generate_subscripts(j.asset, 1) AS i
              FROM journal j WHERE j.t0 <= at AND j.t1 >= (SELECT min(n.time) FROM newest n)) AS j
        JOIN newest n ON n.asset = j.each_asset AND n.time = j.each_time
        WHERE j.flags[i] = 0
    ), trusted AS (
        SELECT u.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.attributes
        FROM unfiled AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, attributes, doubted)
        WHERE u.asset NOT IN (SELECT d.asset FROM unfiled d WHERE d.doubted)
        UNION ALL
        SELECT d.asset, u.*
        FROM (SELECT DISTINCT u.asset FROM unfiled u WHERE u.doubted) AS d CROSS JOIN LATERAL (
            SELECT j.device[i], j.time[i] AS time, j.lon[i] AS lon, j.lat[i] AS lat, j.alt[i], j.speed[i], j.course[i], j.accuracy[i],
                   j.attributes[i]
            FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, d.asset)) AS i
            WHERE j.bucket = (d.asset & 15)::smallint AND j.t0 <= at AND d.asset = ANY (j.asset) AND j.flags[i] = 0 AND j.time[i] <= at
              AND NOT EXISTS (SELECT FROM doubt o WHERE o.asset = d.asset AND o.time = j.time[i] AND o.lon = j.lon[i] AND o.lat = j.lat[i])
            ORDER BY j.time[i] DESC, j.lon[i] DESC, j.lat[i] DESC LIMIT 1
        ) AS u
    )
    SELECT DISTINCT ON (f.asset) f.* FROM (SELECT * FROM trusted UNION ALL SELECT * FROM filed_at(at)) AS f
    ORDER BY f.asset, f.time DESC, f.lon DESC, f.lat DESC;
END $$;

-- What the server unpacks itself ----------------------------------------------------------------------------------------------

-- An instant, `to_time` at the latest, by which about `most` fixes of an asset have passed, counting from from_time. The journal is looked
-- into only where it may have as many: then it brings that again at the most.
CREATE FUNCTION fixes_until(of_asset int, from_time timestamptz, to_time timestamptz, most int) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    rows_at_most CONSTANT int := 5000;
    filed timestamptz := (
        SELECT min(greatest(p.t0 - interval '1 ms', from_time))
        FROM (
            SELECT t0, sum(n) OVER w - n AS before, row_number() OVER w AS nth
            FROM (
                (SELECT t0, n FROM piece WHERE asset = of_asset AND t0 > from_time - interval '24 hours' AND t0 <= to_time AND t1 >= from_time
                 ORDER BY t0 LIMIT rows_at_most + 1)
                UNION ALL
                (SELECT t0, n FROM sealed WHERE asset = of_asset AND t0 > from_time - interval '24 hours' AND t0 <= to_time AND t1 >= from_time
                 ORDER BY t0 LIMIT rows_at_most + 1)
                ORDER BY t0 LIMIT rows_at_most + 1
            ) AS p
            WINDOW w AS (ORDER BY t0)
        ) AS p
        WHERE (p.before >= most OR p.nth > rows_at_most) AND p.t0 > from_time
    );
    unfiled timestamptz;
BEGIN
    IF (SELECT sum(n) FROM journal WHERE bucket = (of_asset & 15)::smallint AND t1 >= from_time AND t0 <= to_time) > most THEN
        unfiled := (
            SELECT greatest(j.time[i] - interval '1 ms', from_time)
            FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, of_asset)) AS i
            WHERE j.bucket = (of_asset & 15)::smallint AND j.t1 >= from_time AND j.t0 <= to_time AND of_asset = ANY (j.asset)
              AND j.time[i] BETWEEN from_time AND to_time
            ORDER BY j.time[i] OFFSET most LIMIT 1
        );
    END IF;
    RETURN least(filed, unfiled, to_time);
END $$;

-- The fixes of one asset between two instants as they are stored, for whoever has arrays: owner 0; doubts as one more row, owner 1. Columns
-- are what the types' binary output makes of them. A sealed row has n and bits, a piece its arrays, whole; of the journal comes what is asked
-- for. Only the beginning comes, up to `until`, if there are more than about `most`; without rows nothing is there up to to_time.
CREATE FUNCTION track_parts(of_asset int, from_time timestamptz, to_time timestamptz, most int)
RETURNS TABLE (until timestamptz, owner int, t0 timestamptz, n int, bits bytea, "time" bytea, batch bytea, device bytea, lon bytea, lat bytea,
               alt bytea, speed bytea, course bytea, accuracy bytea, flags bytea, attributes bytea)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    upto timestamptz := fixes_until(of_asset, from_time, to_time, most);
BEGIN
    RETURN QUERY
    SELECT upto, 0, s.t0, s.n, varbit_send(s.bits), NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea,
           NULL::bytea, NULL::bytea, NULL::bytea, array_send(s.attributes)
    FROM sealed s
    WHERE s.asset = of_asset AND s.t0 <= upto AND s.t1 >= from_time AND s.t0 > from_time - interval '24 hours'
    UNION ALL
    SELECT upto, 0, p.t0, p.n, NULL, array_send(p.time), array_send(p.batch), array_send(p.device), array_send(p.lon), array_send(p.lat),
           array_send(p.alt), array_send(p.speed), array_send(p.course), array_send(p.accuracy), array_send(p.flags), array_send(p.attributes)
    FROM piece p
    WHERE p.asset = of_asset AND p.t0 <= upto AND p.t1 >= from_time AND p.t0 > from_time - interval '24 hours'
    UNION ALL
    SELECT upto, 0, min(j.time[i]), count(*)::int, NULL, array_send(array_agg(j.time[i])), array_send(array_agg(j.batch)),
           array_send(array_agg(j.device[i])), array_send(array_agg(j.lon[i])), array_send(array_agg(j.lat[i])),
           array_send(array_agg(j.alt[i])), array_send(array_agg(j.speed[i])), array_send(array_agg(j.course[i])),
           array_send(array_agg(j.accuracy[i])), array_send(array_agg(j.flags[i])), array_send(array_agg(j.attributes[i]))
    FROM journal j CROSS JOIN LATERAL unnest(array_positions(j.asset, of_asset)) AS i
    WHERE j.bucket = (of_asset & 15)::smallint AND j.t1 >= from_time AND j.t0 <= upto AND of_asset = ANY (j.asset)
      AND j.time[i] BETWEEN from_time AND upto
    HAVING count(*) > 0
    UNION ALL
    SELECT upto, 1, min(d.time), count(*)::int, NULL, array_send(array_agg(d.time)), array_send(array_agg(0::bigint)), array_send(array_agg(0)),
           array_send(array_agg(d.lon)), array_send(array_agg(d.lat)), array_send(array_agg(0)), array_send(array_agg(0)),
           array_send(array_agg(0::smallint)), array_send(array_agg(0)), array_send(array_agg(d.flags)), NULL
    FROM doubt d WHERE d.asset = of_asset AND d.time BETWEEN from_time AND upto
    HAVING count(*) > 0;
    IF NOT FOUND AND upto < to_time THEN                -- nothing is so near: it is looked for farther on
        RETURN QUERY SELECT upto, 0, upto, 0, NULL::bytea, ''::bytea, ''::bytea, ''::bytea, ''::bytea, ''::bytea, ''::bytea, ''::bytea, ''::bytea,
                            ''::bytea, ''::bytea, NULL::bytea;
    END IF;
END $$;
