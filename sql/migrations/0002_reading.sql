-- What SQL people read. Everything that was acked is visible at once: the journal and the pieces together.

CREATE VIEW position AS
SELECT f.asset, f.device, f.time AS fix_time, f.lon / 1e7::float8 AS lon, f.lat / 1e7::float8 AS lat,
       nullif(f.alt, -2147483648) / 10.0::float8 AS alt_m,
       nullif(f.speed, -2147483648) / 100.0::float8 AS speed_mps,
       nullif(f.course, -32768) / 10.0::float8 AS course_deg,
       nullif(f.accuracy, -2147483648) / 10.0::float8 AS accuracy_m,
       f.flags, f.attributes, f.batch,
       ST_SetSRID(ST_MakePoint(f.lon / 1e7::float8, f.lat / 1e7::float8), 4326) AS geom
FROM (
    SELECT u.*, j.batch
    FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags,
        j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
    UNION ALL
    SELECT p.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes, u.batch
    FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy, p.flags,
        p.attributes) AS u (batch, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
) AS f;
COMMENT ON VIEW position IS 'Every durable fix. Conditions on it read everything: use track() and fleet_at() for an asset or an instant.';

-- Every fix of one asset from one instant to another, both inclusive, in event order. A piece never spans two UTC days, so
-- t0 alone, bounded on both sides, finds it by index and partition.
CREATE FUNCTION track(of_asset int, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8, course_deg float8,
               accuracy_m float8, flags smallint, attributes jsonb, batch bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8,
           nullif(f.alt, -2147483648) / 10.0::float8, nullif(f.speed, -2147483648) / 100.0::float8,
           nullif(f.course, -32768) / 10.0::float8, nullif(f.accuracy, -2147483648) / 10.0::float8,
           f.flags, f.attributes, f.batch
    FROM (
        SELECT u.*, j.batch
        FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy,
            j.flags, j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE j.bucket = (of_asset & 15)::smallint AND j.t1 >= from_time AND j.t0 <= to_time AND u.asset = of_asset
        UNION ALL
        SELECT p.asset, u.device, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, u.flags, u.attributes, u.batch
        FROM piece p CROSS JOIN LATERAL unnest(p.batch, p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
            p.flags, p.attributes) AS u (batch, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE p.asset = of_asset AND p.t0 <= to_time AND p.t1 >= from_time
          AND p.t0 > from_time - interval '1 day'
    ) AS f
    WHERE f.time BETWEEN from_time AND to_time
    ORDER BY f.time, f.lon, f.lat, f.batch
$$;

-- Where every asset was at an instant: its newest trusted fix not after it, within a box if one is given.
-- A piece that holds the newest fix cannot end before the newest start of a piece, and lies in that start's day.
CREATE FUNCTION fleet_at(at timestamptz, bounds geometry DEFAULT NULL)
RETURNS TABLE (asset int, device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8,
               course_deg float8, accuracy_m float8, attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH unfiled AS (
        SELECT DISTINCT ON (u.asset) u.*
        FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.device, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy,
            j.flags, j.attributes) AS u (asset, device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
        WHERE j.t0 <= at AND u.flags = 0 AND u.time <= at
        ORDER BY u.asset, u.time DESC, u.lon DESC, u.lat DESC
    ), filed_fix AS (
        SELECT a.id AS asset, f.*
        FROM asset a CROSS JOIN LATERAL (
            SELECT p.trusted_t0 FROM piece p
            WHERE p.asset = a.id AND p.t0 <= at AND p.trusted_t0 <= at ORDER BY p.t0 DESC LIMIT 1
        ) AS newest CROSS JOIN LATERAL (
            SELECT u.* FROM piece p CROSS JOIN LATERAL unnest(p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
                p.flags, p.attributes) AS u (device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
            WHERE p.asset = a.id AND p.t0 <= at AND p.t1 >= newest.trusted_t0
              AND p.t0 >= date_trunc('day', newest.trusted_t0, 'UTC') AND u.flags = 0 AND u.time <= at
            ORDER BY u.time DESC, u.lon DESC, u.lat DESC LIMIT 1
        ) AS f
    ), newest AS (
        SELECT DISTINCT ON (f.asset) f.* FROM (SELECT * FROM unfiled UNION ALL SELECT * FROM filed_fix) AS f
        ORDER BY f.asset, f.time DESC, f.lon DESC, f.lat DESC
    )
    SELECT f.asset, f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8, nullif(f.alt, -2147483648) / 10.0::float8,
           nullif(f.speed, -2147483648) / 100.0::float8, nullif(f.course, -32768) / 10.0::float8,
           nullif(f.accuracy, -2147483648) / 10.0::float8, f.attributes
    FROM newest f JOIN asset a ON a.id = f.asset AND a.deleted_at IS NULL
    WHERE bounds IS NULL OR ST_Intersects(bounds, ST_SetSRID(ST_MakePoint(f.lon / 1e7::float8, f.lat / 1e7::float8), 4326))
$$;
