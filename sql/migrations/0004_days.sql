-- Days without a server, and days that have no 24 hours where the reader sits.

-- Makes the partitions of the days from yesterday to the day after tomorrow. What is older than the first day that was
-- ever made goes to one partition for old days. Days in which no server ran share one partition, as they are found
-- out afterwards and may be many: what devices buffered meanwhile has its place there.
CREATE OR REPLACE FUNCTION make_piece_days(today date) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    day date;
    next_day date;
    made int := 0;
BEGIN
    IF to_regclass('piece_old') IS NULL THEN
        EXECUTE format('CREATE TABLE piece_old PARTITION OF piece FOR VALUES FROM (MINVALUE) TO (%L)',
                       (today - 1)::timestamp AT TIME ZONE 'UTC');
        made := 1;
    END IF;
    SELECT coalesce(max(substring(relname FROM 7)::date) + 1, today - 1) INTO next_day
    FROM pg_class WHERE relname ~ '^piece_\d{8}$' AND relkind = 'r';
    IF next_day < today - 1 THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF piece FOR VALUES FROM (%L) TO (%L)',
                       'piece_' || to_char(next_day, 'YYYYMMDD') || '_' || to_char(today - 2, 'YYYYMMDD'),
                       next_day::timestamp AT TIME ZONE 'UTC', (today - 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
        next_day := today - 1;
    END IF;
    FOR day IN SELECT next_day + n FROM generate_series(0, today + 2 - next_day) AS n LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF piece FOR VALUES FROM (%L) TO (%L)', 'piece_' || to_char(day, 'YYYYMMDD'),
                       day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- Every fix of one asset from one instant to another, both inclusive, in event order. A piece never spans two UTC days, so
-- t0 alone, bounded on both sides, finds it by index and partition. An interval of one day is 23 hours long where the
-- session's time zone puts its clocks forward; 24 hours are 24 hours everywhere.
CREATE OR REPLACE FUNCTION track(of_asset int, from_time timestamptz, to_time timestamptz)
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
          AND p.t0 > from_time - interval '24 hours'
    ) AS f
    WHERE f.time BETWEEN from_time AND to_time
    ORDER BY f.time, f.lon, f.lat, f.batch
$$;
