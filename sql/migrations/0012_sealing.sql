-- Closed days are sealed: consecutive fixes of one asset in one row, packed by the bit.

-- Rows of one asset overlap at most in the instants at which they meet, and lie in one UTC day each. What comes late for a sealed
-- day stands in the journal and in pieces until the day is sealed again.
CREATE TABLE sealed (
    asset      int NOT NULL,
    n          int NOT NULL,
    t0         timestamptz NOT NULL,
    t1         timestamptz NOT NULL,
    trusted_t0 timestamptz,                             -- its first fix without flags of its own; doubts are not looked at
    last_batch bigint NOT NULL,                         -- the highest
    west       int NOT NULL,
    south      int NOT NULL,
    east       int NOT NULL,
    north      int NOT NULL,
    bits       bit varying NOT NULL,                    -- the columns of its fixes; unseal() reads them
    attributes jsonb[]                                  -- those that differ; null when no fix of the row has any
) WITH (toast_tuple_target = 4080, autovacuum_vacuum_scale_factor = 0.02);
-- No compression makes these bits fewer, and they would be decompressed again for every number that is read.
ALTER TABLE sealed ALTER COLUMN bits SET STORAGE EXTERNAL;
DO $$
BEGIN
    ALTER TABLE sealed ALTER COLUMN attributes SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this PostgreSQL has no lz4: history takes more time to compress';
END $$;
CREATE INDEX sealed_asset ON sealed (asset, t0);

-- Pieces that still grow.
CREATE INDEX piece_small ON piece (asset, t0) WHERE n < 60;
-- Hours of a day: pieces are filed about in their order.
CREATE INDEX piece_time ON piece USING brin (t0, t1);

-- A row's box in degrees and days.
CREATE FUNCTION span_box(west int, south int, east int, north int, t0 timestamptz, t1 timestamptz) RETURNS geometry
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ST_MakeLine(ST_MakePoint(west / 1e7::float8, south / 1e7::float8, extract(epoch FROM t0)::float8 / 86400),
                   ST_MakePoint(east / 1e7::float8, north / 1e7::float8, extract(epoch FROM t1)::float8 / 86400));
CREATE INDEX sealed_box ON sealed USING gist (span_box(west, south, east, north, t0, t1) gist_geometry_ops_nd);

-- The i-th number, counting from 0, of a column whose numbers have `width` bits each and begin at a bit, counting from 1.
CREATE FUNCTION packed(bits bit varying, at int, width int, i int) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN width > 0 THEN substring(bits FROM at + i * width FOR width)::bigint ELSE 0 END
$$;

-- The i-th value of a column: base and its number, or, where the numbers say what a value has more than a steady step, the sum of them.
CREATE FUNCTION unpacked(bits bit varying, at int, width int, i int, base bigint, step int, summed boolean, total bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT base + CASE WHEN summed THEN i * step::bigint + total ELSE packed(bits, at, width, i) END
$$;

-- The fixes of a sealed row in event order. The bits are a head, then column after column: time (ms after t0), batch, device, lon, lat,
-- alt, speed, course, accuracy, flags, place of the attributes (from 1; 0: none); n numbers each, most significant bit first.
-- The head has for each of them kind (8 bits), base (32, signed) and step (32, signed), and at last the upper 32 bits of the base of
-- batch. kind & 63 is the width. Without kind & 64 a value is base + its number; with it, the i-th, from 0, is base + i * step + the sum
-- of the numbers up to and with the i-th. With kind & 128 the value `base` stands for "not known".
-- In PL/pgSQL its plan is made once a session; in SQL it would become part of every query that might meet a sealed row.
CREATE FUNCTION unseal(t0 timestamptz, n int, bits bit varying, extras jsonb[])
RETURNS TABLE (batch bigint, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               flags smallint, attributes jsonb)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 200 AS $$
BEGIN
    RETURN QUERY
    SELECT unpacked(bits, h.batch_at, h.batch_w, s.i, h.batch_base, h.batch_step, h.batch_summed, s.batch),
           (h.device_base + packed(bits, h.device_at, h.device_w, s.i))::int,
           t0 + unpacked(bits, h.time_at, h.time_w, s.i, h.time_base, h.time_step, h.time_summed, s.time) * interval '1 ms',
           unpacked(bits, h.lon_at, h.lon_w, s.i, h.lon_base, h.lon_step, h.lon_summed, s.lon)::int,
           unpacked(bits, h.lat_at, h.lat_w, s.i, h.lat_base, h.lat_step, h.lat_summed, s.lat)::int,
           coalesce(nullif(unpacked(bits, h.alt_at, h.alt_w, s.i, h.alt_base, h.alt_step, h.alt_summed, s.alt), h.alt_unknown), -2147483648)::int,
           coalesce(nullif(unpacked(bits, h.speed_at, h.speed_w, s.i, h.speed_base, h.speed_step, h.speed_summed, s.speed), h.speed_unknown), -2147483648)::int,
           coalesce(nullif(unpacked(bits, h.course_at, h.course_w, s.i, h.course_base, h.course_step, h.course_summed, s.course), h.course_unknown), -32768)::smallint,
           coalesce(nullif(unpacked(bits, h.accuracy_at, h.accuracy_w, s.i, h.accuracy_base, h.accuracy_step, h.accuracy_summed, s.accuracy), h.accuracy_unknown), -2147483648)::int,
           (h.flags_base + packed(bits, h.flags_at, h.flags_w, s.i))::smallint,
           extras[(h.extra_base + packed(bits, h.extra_at, h.extra_w, s.i))::int]
    FROM (
        SELECT *,
               825 AS time_at,
               825 + n * time_w AS batch_at,
               825 + n * (time_w + batch_w) AS device_at,
               825 + n * (time_w + batch_w + device_w) AS lon_at,
               825 + n * (time_w + batch_w + device_w + lon_w) AS lat_at,
               825 + n * (time_w + batch_w + device_w + lon_w + lat_w) AS alt_at,
               825 + n * (time_w + batch_w + device_w + lon_w + lat_w + alt_w) AS speed_at,
               825 + n * (time_w + batch_w + device_w + lon_w + lat_w + alt_w + speed_w) AS course_at,
               825 + n * (time_w + batch_w + device_w + lon_w + lat_w + alt_w + speed_w + course_w) AS accuracy_at,
               825 + n * (time_w + batch_w + device_w + lon_w + lat_w + alt_w + speed_w + course_w + accuracy_w) AS flags_at,
               825 + n * (time_w + batch_w + device_w + lon_w + lat_w + alt_w + speed_w + course_w + accuracy_w + flags_w) AS extra_at
        FROM (
            SELECT *,
                   time_kind & 63 AS time_w, time_kind & 64 > 0 AS time_summed,
                   batch_kind & 63 AS batch_w, batch_kind & 64 > 0 AS batch_summed,
                   device_kind & 63 AS device_w,
                   lon_kind & 63 AS lon_w, lon_kind & 64 > 0 AS lon_summed,
                   lat_kind & 63 AS lat_w, lat_kind & 64 > 0 AS lat_summed,
                   alt_kind & 63 AS alt_w, alt_kind & 64 > 0 AS alt_summed,
                   speed_kind & 63 AS speed_w, speed_kind & 64 > 0 AS speed_summed,
                   course_kind & 63 AS course_w, course_kind & 64 > 0 AS course_summed,
                   accuracy_kind & 63 AS accuracy_w, accuracy_kind & 64 > 0 AS accuracy_summed,
                   flags_kind & 63 AS flags_w,
                   extra_kind & 63 AS extra_w,
                   CASE WHEN alt_kind > 127 THEN alt_base ELSE -2147483648 END AS alt_unknown,
                   CASE WHEN speed_kind > 127 THEN speed_base ELSE -2147483648 END AS speed_unknown,
                   CASE WHEN course_kind > 127 THEN course_base ELSE -32768 END AS course_unknown,
                   CASE WHEN accuracy_kind > 127 THEN accuracy_base ELSE -2147483648 END AS accuracy_unknown
            FROM (
            SELECT substring(bits FROM 1 FOR 8)::int AS time_kind, substring(bits FROM 9 FOR 32)::int AS time_base,
                   substring(bits FROM 41 FOR 32)::int AS time_step,
                   substring(bits FROM 73 FOR 8)::int AS batch_kind, (substring(bits FROM 793 FOR 32)::int::bigint << 32) + substring(bits FROM 81 FOR 32)::bigint AS batch_base,
                   substring(bits FROM 113 FOR 32)::int AS batch_step,
                   substring(bits FROM 145 FOR 8)::int AS device_kind, substring(bits FROM 153 FOR 32)::int AS device_base,
                   substring(bits FROM 217 FOR 8)::int AS lon_kind, substring(bits FROM 225 FOR 32)::int AS lon_base,
                   substring(bits FROM 257 FOR 32)::int AS lon_step,
                   substring(bits FROM 289 FOR 8)::int AS lat_kind, substring(bits FROM 297 FOR 32)::int AS lat_base,
                   substring(bits FROM 329 FOR 32)::int AS lat_step,
                   substring(bits FROM 361 FOR 8)::int AS alt_kind, substring(bits FROM 369 FOR 32)::int AS alt_base,
                   substring(bits FROM 401 FOR 32)::int AS alt_step,
                   substring(bits FROM 433 FOR 8)::int AS speed_kind, substring(bits FROM 441 FOR 32)::int AS speed_base,
                   substring(bits FROM 473 FOR 32)::int AS speed_step,
                   substring(bits FROM 505 FOR 8)::int AS course_kind, substring(bits FROM 513 FOR 32)::int AS course_base,
                   substring(bits FROM 545 FOR 32)::int AS course_step,
                   substring(bits FROM 577 FOR 8)::int AS accuracy_kind, substring(bits FROM 585 FOR 32)::int AS accuracy_base,
                   substring(bits FROM 617 FOR 32)::int AS accuracy_step,
                   substring(bits FROM 649 FOR 8)::int AS flags_kind, substring(bits FROM 657 FOR 32)::int AS flags_base,
                   substring(bits FROM 721 FOR 8)::int AS extra_kind, substring(bits FROM 729 FOR 32)::int AS extra_base
            OFFSET 0
            ) AS k
            OFFSET 0
        ) AS k
        OFFSET 0
    ) AS h CROSS JOIN LATERAL (
        SELECT i,
               sum(CASE WHEN h.time_summed THEN packed(bits, h.time_at, h.time_w, i)::int END) OVER w AS time,
               sum(CASE WHEN h.batch_summed THEN packed(bits, h.batch_at, h.batch_w, i)::int END) OVER w AS batch,
               sum(CASE WHEN h.lon_summed THEN packed(bits, h.lon_at, h.lon_w, i)::int END) OVER w AS lon,
               sum(CASE WHEN h.lat_summed THEN packed(bits, h.lat_at, h.lat_w, i)::int END) OVER w AS lat,
               sum(CASE WHEN h.alt_summed THEN packed(bits, h.alt_at, h.alt_w, i)::int END) OVER w AS alt,
               sum(CASE WHEN h.speed_summed THEN packed(bits, h.speed_at, h.speed_w, i)::int END) OVER w AS speed,
               sum(CASE WHEN h.course_summed THEN packed(bits, h.course_at, h.course_w, i)::int END) OVER w AS course,
               sum(CASE WHEN h.accuracy_summed THEN packed(bits, h.accuracy_at, h.accuracy_w, i)::int END) OVER w AS accuracy
        FROM generate_series(0, n - 1) AS i
        WINDOW w AS (ORDER BY i ROWS UNBOUNDED PRECEDING)
    ) AS s;
END $$;

-- The same as far as times and places go, for a quarter of the work.
CREATE FUNCTION unseal_places(t0 timestamptz, n int, bits bit varying) RETURNS TABLE ("time" timestamptz, lon int, lat int)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 200 AS $$
DECLARE
    time_kind int := substring(bits FROM 1 FOR 8)::int;
    time_base int := substring(bits FROM 9 FOR 32)::int;
    time_step int := substring(bits FROM 41 FOR 32)::int;
    lon_kind int := substring(bits FROM 217 FOR 8)::int;
    lon_base int := substring(bits FROM 225 FOR 32)::int;
    lon_step int := substring(bits FROM 257 FOR 32)::int;
    lat_kind int := substring(bits FROM 289 FOR 8)::int;
    lat_base int := substring(bits FROM 297 FOR 32)::int;
    lat_step int := substring(bits FROM 329 FOR 32)::int;
    time_w int := time_kind & 63;
    lon_w int := lon_kind & 63;
    lat_w int := lat_kind & 63;
    time_summed boolean := time_kind & 64 > 0;
    lon_summed boolean := lon_kind & 64 > 0;
    lat_summed boolean := lat_kind & 64 > 0;
    lon_at int := 825 + n * (time_w + (substring(bits FROM 73 FOR 8)::int & 63) + (substring(bits FROM 145 FOR 8)::int & 63));
    lat_at int := lon_at + n * lon_w;
BEGIN
    RETURN QUERY
    SELECT t0 + unpacked(bits, 825, time_w, s.i, time_base, time_step, time_summed, s.time) * interval '1 ms',
           unpacked(bits, lon_at, lon_w, s.i, lon_base, lon_step, lon_summed, s.lon)::int,
           unpacked(bits, lat_at, lat_w, s.i, lat_base, lat_step, lat_summed, s.lat)::int
    FROM (
        SELECT i, sum(CASE WHEN time_summed THEN packed(bits, 825, time_w, i)::int END) OVER w AS time,
               sum(CASE WHEN lon_summed THEN packed(bits, lon_at, lon_w, i)::int END) OVER w AS lon,
               sum(CASE WHEN lat_summed THEN packed(bits, lat_at, lat_w, i)::int END) OVER w AS lat
        FROM generate_series(0, n - 1) AS i
        WINDOW w AS (ORDER BY i ROWS UNBOUNDED PRECEDING)
    ) AS s;
END $$;

-- Readers see the journal, the pieces and the sealed days as one ---------------------------------------------------------

CREATE OR REPLACE VIEW position AS
SELECT f.asset, f.device, f.time AS fix_time, f.lon / 1e7::float8 AS lon, f.lat / 1e7::float8 AS lat,
       nullif(f.alt, -2147483648) / 10.0::float8 AS alt_m,
       nullif(f.speed, -2147483648) / 100.0::float8 AS speed_mps,
       nullif(f.course, -32768) / 10.0::float8 AS course_deg,
       nullif(f.accuracy, -2147483648) / 10.0::float8 AS accuracy_m,
       f.flags | coalesce(d.flags, 0::smallint) AS flags, f.attributes, f.batch,
       ST_SetSRID(ST_MakePoint(f.lon / 1e7::float8, f.lat / 1e7::float8), 4326) AS geom
FROM (
    SELECT u.*, j.batch
    FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags,
        j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
    UNION ALL
    SELECT p.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes, u.batch
    FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags,
        p.attributes) AS u (batch, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
    UNION ALL
    SELECT s.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes, u.batch
    FROM sealed s CROSS JOIN LATERAL unseal(s.t0, s.n, s.bits, s.attributes) AS u
) AS f LEFT JOIN doubt d ON d.asset = f.asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat;
COMMENT ON VIEW position IS
    'Every durable fix. Conditions on it read everything: use track(), fleet_at() and fixes_within() for an asset, an instant or a box.';

-- The fixes of one asset between two instants, both inclusive, in the integers in which they are stored, in no order.
CREATE FUNCTION stored_fixes(of_asset int, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (batch bigint, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               flags smallint, attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT f.* FROM (
        SELECT j.batch, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes
        FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy,
            j.flags, j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE j.bucket = (of_asset & 15)::smallint AND j.t1 >= from_time AND j.t0 <= to_time AND u.asset = of_asset
        UNION ALL
        SELECT u.*
        FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
            p.flags, p.attributes) AS u (batch, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE p.asset = of_asset AND p.t0 <= to_time AND p.t1 >= from_time AND p.t0 > from_time - interval '24 hours'
        UNION ALL
        SELECT u.*
        FROM sealed s CROSS JOIN LATERAL unseal(s.t0, s.n, s.bits, s.attributes) AS u
        WHERE s.asset = of_asset AND s.t0 <= to_time AND s.t1 >= from_time AND s.t0 > from_time - interval '24 hours'
    ) AS f
    WHERE f.time BETWEEN from_time AND to_time
$$;

CREATE OR REPLACE FUNCTION track(of_asset int, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8, course_deg float8,
               accuracy_m float8, flags smallint, attributes jsonb, batch bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8,
           nullif(f.alt, -2147483648) / 10.0::float8, nullif(f.speed, -2147483648) / 100.0::float8,
           nullif(f.course, -32768) / 10.0::float8, nullif(f.accuracy, -2147483648) / 10.0::float8,
           f.flags | coalesce(d.flags, 0::smallint), f.attributes, f.batch
    FROM stored_fixes(of_asset, from_time, to_time) AS f
    LEFT JOIN doubt d ON d.asset = of_asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat
    ORDER BY f.time, f.lon, f.lat, f.batch
$$;

-- Where assets were at an instant by the journal and the pieces: the newest trusted fix of each not after it.
CREATE FUNCTION loose_at(at timestamptz)
RETURNS TABLE (asset int, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH unfiled AS (
        SELECT DISTINCT ON (u.asset) u.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.attributes
        FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy,
            j.flags, j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE j.t0 <= at AND u.flags = 0 AND u.time <= at
          AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = u.asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat)
        ORDER BY u.asset, u.time DESC, u.lon DESC, u.lat DESC
    ), filed_fix AS (
        SELECT a.id AS asset, f.*
        FROM asset a CROSS JOIN LATERAL (
            SELECT p.trusted_t0 FROM piece p
            WHERE p.asset = a.id AND p.t0 <= at AND p.trusted_t0 <= at ORDER BY p.t0 DESC LIMIT 1
        ) AS newest CROSS JOIN LATERAL (
            SELECT u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.attributes
            FROM piece p CROSS JOIN LATERAL unnest(p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
                p.flags, p.attributes) AS u (device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
            WHERE p.asset = a.id AND p.t0 <= at AND p.t1 >= newest.trusted_t0
              AND p.t0 >= date_trunc('day', newest.trusted_t0, 'UTC') AND u.flags = 0 AND u.time <= at
              AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = p.asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat)
            ORDER BY u.time DESC, u.lon DESC, u.lat DESC LIMIT 1
        ) AS f
    )
    SELECT DISTINCT ON (f.asset) f.* FROM (SELECT * FROM unfiled UNION ALL SELECT * FROM filed_fix) AS f
    ORDER BY f.asset, f.time DESC, f.lon DESC, f.lat DESC
$$;

-- The same of one asset by the sealed days, if it is not before `since`. Rows are looked through from the newest on, until one has a
-- trusted fix.
CREATE FUNCTION sealed_at(of_asset int, at timestamptz, since timestamptz)
RETURNS TABLE (asset int, device int, "time" timestamptz, lon int, lat int, alt int, speed int, course smallint, accuracy int,
               attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT of_asset, u.* FROM (
        SELECT s.t0, s.n, s.bits, s.attributes FROM sealed s
        WHERE s.asset = of_asset AND s.t0 <= at AND s.trusted_t0 <= at AND s.t1 >= since AND s.t0 > since - interval '24 hours'
        ORDER BY s.t0 DESC
    ) AS s CROSS JOIN LATERAL (
        SELECT u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.attributes
        FROM unseal(s.t0, s.n, s.bits, s.attributes) AS u
        WHERE u.flags = 0 AND u.time <= at
          AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = of_asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat)
        ORDER BY u.time DESC, u.lon DESC, u.lat DESC LIMIT 1
    ) AS u
    ORDER BY s.t0 DESC LIMIT 1
$$;

CREATE OR REPLACE FUNCTION fleet_at(at timestamptz, bounds geometry DEFAULT NULL)
RETURNS TABLE (asset int, device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8,
               course_deg float8, accuracy_m float8, attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH loose AS MATERIALIZED (
        SELECT * FROM loose_at(at)
    ), newest AS (
        SELECT DISTINCT ON (f.asset) f.* FROM (
            SELECT * FROM loose
            UNION ALL
            SELECT s.* FROM asset a LEFT JOIN loose l ON l.asset = a.id
            CROSS JOIN LATERAL sealed_at(a.id, at, coalesce(l.time, '-infinity')) AS s
        ) AS f
        ORDER BY f.asset, f.time DESC, f.lon DESC, f.lat DESC
    )
    SELECT f.asset, f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8, nullif(f.alt, -2147483648) / 10.0::float8,
           nullif(f.speed, -2147483648) / 100.0::float8, nullif(f.course, -32768) / 10.0::float8,
           nullif(f.accuracy, -2147483648) / 10.0::float8, f.attributes
    FROM newest f JOIN asset a ON a.id = f.asset AND a.deleted_at IS NULL
    WHERE bounds IS NULL OR ST_Intersects(bounds, ST_SetSRID(ST_MakePoint(f.lon / 1e7::float8, f.lat / 1e7::float8), 4326))
$$;

-- Every fix in a box between two instants, all of them inclusive.
CREATE FUNCTION fixes_within(bounds geometry, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (asset int, device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8,
               course_deg float8, accuracy_m float8, flags smallint, attributes jsonb, batch bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH box AS MATERIALIZED (
        SELECT floor(greatest(ST_XMin(bounds), -180) * 1e7)::int AS west, floor(greatest(ST_YMin(bounds), -90) * 1e7)::int AS south,
               ceil(least(ST_XMax(bounds), 180) * 1e7)::int AS east, ceil(least(ST_YMax(bounds), 90) * 1e7)::int AS north
    ), near AS (
        SELECT u.*, j.batch
        FROM box b CROSS JOIN journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course,
            j.accuracy, j.flags, j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE j.t1 >= from_time AND j.t0 <= to_time AND u.lon BETWEEN b.west AND b.east AND u.lat BETWEEN b.south AND b.north
        UNION ALL
        SELECT p.asset, u.*
        FROM box b JOIN piece p ON p.west <= b.east AND p.east >= b.west AND p.south <= b.north AND p.north >= b.south
        CROSS JOIN LATERAL unnest(p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags, p.attributes, p.batch)
            AS u (device, time, lon, lat, alt, speed, course, accuracy, flags, attributes, batch)
        WHERE p.t0 <= to_time AND p.t1 >= from_time AND p.t0 > from_time - interval '24 hours'
          AND u.lon BETWEEN b.west AND b.east AND u.lat BETWEEN b.south AND b.north
        UNION ALL
        SELECT s.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes, u.batch
        FROM box b CROSS JOIN LATERAL (
            SELECT s.* FROM sealed s
            WHERE span_box(s.west, s.south, s.east, s.north, s.t0, s.t1)
                  &&& span_box(b.west, b.south, b.east, b.north, from_time, to_time)
              AND s.west <= b.east AND s.east >= b.west AND s.south <= b.north AND s.north >= b.south
              AND s.t0 <= to_time AND s.t1 >= from_time
              AND EXISTS (SELECT FROM unseal_places(s.t0, s.n, s.bits) AS p
                          WHERE p.time BETWEEN from_time AND to_time AND p.lon BETWEEN b.west AND b.east
                            AND p.lat BETWEEN b.south AND b.north)
            OFFSET 0
        ) AS s CROSS JOIN LATERAL unseal(s.t0, s.n, s.bits, s.attributes) AS u
        WHERE u.lon BETWEEN b.west AND b.east AND u.lat BETWEEN b.south AND b.north
    )
    SELECT f.asset, f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8,
           nullif(f.alt, -2147483648) / 10.0::float8, nullif(f.speed, -2147483648) / 100.0::float8,
           nullif(f.course, -32768) / 10.0::float8, nullif(f.accuracy, -2147483648) / 10.0::float8,
           f.flags | coalesce(d.flags, 0::smallint), f.attributes, f.batch
    FROM near f LEFT JOIN doubt d ON d.asset = f.asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat
    WHERE f.time BETWEEN from_time AND to_time
      AND ST_Intersects(bounds, ST_SetSRID(ST_MakePoint(f.lon / 1e7::float8, f.lat / 1e7::float8), 4326))
$$;

-- Days whose pieces are sealed give way ----------------------------------------------------------------------------------

-- Makes the oldest day's partition part of the one for old days, if the day is before `open` and its partition is empty on disk:
-- then VACUUM has found that nobody's snapshot has a fix in it any more. Says what it did not find empty, to be vacuumed.
CREATE FUNCTION close_piece_day(open date) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    few_bytes CONSTANT bigint := 33554432;               -- of old pieces, which are read while nobody else may
    oldest text;
    day_after date;
BEGIN
    SELECT relname INTO oldest FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE i.inhparent = 'piece'::regclass AND relname ~ '^piece_\d' ORDER BY relname LIMIT 1;
    day_after := right(oldest, 8)::date + 1;
    IF oldest IS NULL OR day_after > open THEN
        RETURN NULL;
    END IF;
    IF pg_relation_size(oldest::regclass) > 0 THEN
        RETURN oldest;
    END IF;
    IF pg_relation_size('piece_old') > few_bytes THEN
        RETURN 'piece_old';
    END IF;
    PERFORM set_config('lock_timeout', '200ms', true);  -- behind a slow reader everybody else would wait with us
    LOCK TABLE piece IN ACCESS EXCLUSIVE MODE;
    IF pg_relation_size(oldest::regclass) = 0 AND pg_relation_size('piece_old') <= few_bytes THEN
        EXECUTE format('ALTER TABLE piece DETACH PARTITION %I', oldest);
        ALTER TABLE piece DETACH PARTITION piece_old;
        EXECUTE format('DROP TABLE %I', oldest);
        EXECUTE format('ALTER TABLE piece ATTACH PARTITION piece_old FOR VALUES FROM (MINVALUE) TO (%L)',
                       day_after::timestamp AT TIME ZONE 'UTC');
    END IF;
    RETURN close_piece_day(open);
END $$;
