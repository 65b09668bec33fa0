-- What judging again needs: flags that depend on neighbours, marks of late fixes, states to begin from, options of geofences.

-- Flags of fixes that their neighbours bring about. They stand beside the fixes, as a late fix may change them. Rows are few.
CREATE TABLE doubt (
    asset int NOT NULL,
    time  timestamptz NOT NULL,
    lon   int NOT NULL,
    lat   int NOT NULL,
    flags smallint NOT NULL CHECK (flags <> 0),
    PRIMARY KEY (asset, time, lon, lat)
);

-- Assets that must be judged again: one row for each batch that brought such fixes, with the times of the first and the last.
CREATE TABLE late (
    asset      int NOT NULL,
    batch      bigint NOT NULL,
    first_time timestamptz NOT NULL,
    last_time  timestamptz NOT NULL,
    PRIMARY KEY (asset, batch)
);

-- The complete state of an asset right after one of its fixes, the newest that stands in it. `changes`: the turnings right after that fix
-- are in the state, if their batches are not above this.
CREATE TABLE checkpoint (
    asset   int NOT NULL,
    time    timestamptz NOT NULL,
    changes bigint NOT NULL,
    state   jsonb NOT NULL,
    PRIMARY KEY (asset, time)
);
ALTER TABLE checkpoint ALTER COLUMN state SET STORAGE MAIN;

-- The part of an asset's present state that neither `latest` nor open visits tell: rows exist only where there is such a part.
CREATE TABLE standing (
    asset int PRIMARY KEY,
    state jsonb NOT NULL
) WITH (fillfactor = 50);

-- The places, in the order of an asset's fixes, of changes of a geofence (or, geofence 0, of the asset's tags): right after the fix
-- with these numbers. Only for assets near the geofence: elsewhere a change changes nothing.
CREATE TABLE turning (
    asset    int NOT NULL,
    geofence int NOT NULL,
    batch    bigint NOT NULL,                                    -- the first that the change judges
    time     timestamptz NOT NULL,
    lon      int NOT NULL,
    lat      int NOT NULL,
    alt      int NOT NULL,
    speed    int NOT NULL,
    course   int NOT NULL,
    accuracy int NOT NULL,
    stored   bigint NOT NULL,                                    -- the batch of that fix
    PRIMARY KEY (asset, geofence, batch)
);
CREATE INDEX turning_asset ON turning (asset, time);

ALTER TABLE geofence_version
    ADD COLUMN buffer_m double precision CHECK (buffer_m > 0),   -- of a corridor, whose geom is a line
    ADD COLUMN options jsonb NOT NULL DEFAULT '{}';              -- of the crossing model, as they were given

-- Which tags an asset had for fixes stored from a batch on; without a row, those that it has now.
CREATE TABLE asset_tags (
    asset      int NOT NULL REFERENCES asset,
    from_batch bigint NOT NULL,
    tags       text[] NOT NULL,
    PRIMARY KEY (asset, from_batch)
);

ALTER TABLE event
    ADD COLUMN crossed_lon int,                                  -- 1e-7 degrees, as lon and lat
    ADD COLUMN crossed_lat int;
CREATE INDEX event_revises ON event (revises) WHERE revises IS NOT NULL;
CREATE INDEX event_asset_time ON event (asset, fix_time);

-- The newest fix in event order has more to it than its place: of equal ones the first by the remaining fields is judged.
-- seen: the highest batch of the fixes up to the newest, which says which geofences have seen the asset.
ALTER TABLE latest
    ADD COLUMN any_alt      int NOT NULL DEFAULT -2147483648,
    ADD COLUMN any_speed    int NOT NULL DEFAULT -2147483648,
    ADD COLUMN any_course   smallint NOT NULL DEFAULT -32768,
    ADD COLUMN any_accuracy int NOT NULL DEFAULT -2147483648,
    ADD COLUMN any_seen     bigint,
    ADD COLUMN seen         bigint;
UPDATE latest SET any_seen = any_batch, seen = batch;
ALTER TABLE latest ALTER COLUMN any_seen SET NOT NULL;

-- Readers see stored flags and doubts as one ---------------------------------------------------------------------------

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
) AS f LEFT JOIN doubt d ON d.asset = f.asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat;

CREATE OR REPLACE FUNCTION track(of_asset int, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8, course_deg float8,
               accuracy_m float8, flags smallint, attributes jsonb, batch bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT f.device, f.time, f.lon / 1e7::float8, f.lat / 1e7::float8,
           nullif(f.alt, -2147483648) / 10.0::float8, nullif(f.speed, -2147483648) / 100.0::float8,
           nullif(f.course, -32768) / 10.0::float8, nullif(f.accuracy, -2147483648) / 10.0::float8,
           f.flags | coalesce(d.flags, 0::smallint), f.attributes, f.batch
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
    ) AS f LEFT JOIN doubt d ON d.asset = of_asset AND d.time = f.time AND d.lon = f.lon AND d.lat = f.lat
    WHERE f.time BETWEEN from_time AND to_time
    ORDER BY f.time, f.lon, f.lat, f.batch
$$;

CREATE OR REPLACE FUNCTION fleet_at(at timestamptz, bounds geometry DEFAULT NULL)
RETURNS TABLE (asset int, device int, fix_time timestamptz, lon float8, lat float8, alt_m float8, speed_mps float8,
               course_deg float8, accuracy_m float8, attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH unfiled AS (
        SELECT DISTINCT ON (u.asset) u.*
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
            SELECT u.* FROM piece p CROSS JOIN LATERAL unnest(p.device, p.time, p.lon, p.lat, p.alt, p.speed, p.course, p.accuracy,
                p.flags, p.attributes) AS u (device, time, lon, lat, alt, speed, course, accuracy, flags, attributes)
            WHERE p.asset = a.id AND p.t0 <= at AND p.t1 >= newest.trusted_t0
              AND p.t0 >= date_trunc('day', newest.trusted_t0, 'UTC') AND u.flags = 0 AND u.time <= at
              AND NOT EXISTS (SELECT FROM doubt d WHERE d.asset = p.asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat)
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

-- What was found when assets were judged again, beside what is told at once. Status and revises are given; visits are written by
-- whoever judges again, as they are replaced and not only opened and closed.
DROP FUNCTION record_events;
CREATE FUNCTION record_events(
    recorded_ms bigint, of_batch bigint,
    e_id bigint[], e_type text[], e_status text[], e_asset int[], e_asset_name text[], e_geofence int[], e_geofence_name text[],
    e_version int[], e_device int[], e_time_ms bigint[], e_lon int[], e_lat int[], e_initial boolean[], e_cause text[],
    e_revises bigint[], e_crossed_ms bigint[], e_crossed_lon int[], e_crossed_lat int[],
    c_asset int[], c_geofence int[], c_time_ms bigint[], c_event bigint[],
    o_asset int[], o_geofence int[], o_version int[], o_enter_ms bigint[], o_enter_event bigint[], o_initial boolean[],
    o_exit_ms bigint[], o_exit_event bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (id, type, status, asset, asset_name, geofence, geofence_name, geofence_version, device, batch, fix_time,
                       recorded_at, lon, lat, initial, cause, revises, crossed_at, crossed_lon, crossed_lat)
    SELECT e.id, e.type, e.status, e.asset, e.asset_name, e.geofence, e.geofence_name, e.version, e.device, of_batch,
           'epoch'::timestamptz + e.time_ms * interval '1 ms', 'epoch'::timestamptz + recorded_ms * interval '1 ms',
           e.lon, e.lat, e.initial, e.cause, e.revises, 'epoch'::timestamptz + e.crossed_ms * interval '1 ms', e.crossed_lon,
           e.crossed_lat
    FROM unnest(e_id, e_type, e_status, e_asset, e_asset_name, e_geofence, e_geofence_name, e_version, e_device, e_time_ms, e_lon,
                e_lat, e_initial, e_cause, e_revises, e_crossed_ms, e_crossed_lon, e_crossed_lat)
         AS e (id, type, status, asset, asset_name, geofence, geofence_name, version, device, time_ms, lon, lat, initial, cause,
               revises, crossed_ms, crossed_lon, crossed_lat);

    UPDATE visit v SET exit_time = 'epoch'::timestamptz + c.time_ms * interval '1 ms', exit_event = c.event
    FROM unnest(c_asset, c_geofence, c_time_ms, c_event) AS c (asset, geofence, time_ms, event)
    WHERE v.asset = c.asset AND v.geofence = c.geofence AND v.exit_event IS NULL;

    INSERT INTO visit (asset, geofence, geofence_version, enter_time, enter_event, initial, exit_time, exit_event)
    SELECT o.asset, o.geofence, o.version, 'epoch'::timestamptz + o.enter_ms * interval '1 ms', o.enter_event, o.initial,
           'epoch'::timestamptz + o.exit_ms * interval '1 ms', o.exit_event
    FROM unnest(o_asset, o_geofence, o_version, o_enter_ms, o_enter_event, o_initial, o_exit_ms, o_exit_event)
         AS o (asset, geofence, version, enter_ms, enter_event, initial, exit_ms, exit_event);

    INSERT INTO delivery (hook, event, asset)
    SELECT h.id, e.id, e.asset
    FROM unnest(e_id, e_type, e_asset, e_geofence) AS e (id, type, asset, geofence)
    JOIN hook h ON e.type = ANY (h.types) AND (h.assets IS NULL OR e.asset = ANY (h.assets))
               AND (h.geofences IS NULL OR e.geofence = ANY (h.geofences)) AND h.deleted_at IS NULL
    ORDER BY e.id;
END $$;

-- What judging a batch found out beside events: {"doubts": [{asset, time_ms, lon, lat, flags}], "late": [{asset, first_ms, last_ms}],
-- "standing": [{asset, state | null}], "checkpoints": [{asset, time_ms, state}]}.
CREATE FUNCTION record_findings(of_batch bigint, findings jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO doubt (asset, time, lon, lat, flags)
    SELECT d.asset, 'epoch'::timestamptz + d.time_ms * interval '1 ms', d.lon, d.lat, d.flags
    FROM jsonb_to_recordset(findings -> 'doubts') AS d (asset int, time_ms bigint, lon int, lat int, flags smallint)
    ON CONFLICT (asset, time, lon, lat) DO UPDATE SET flags = excluded.flags;

    INSERT INTO late (asset, batch, first_time, last_time)
    SELECT l.asset, of_batch, 'epoch'::timestamptz + l.first_ms * interval '1 ms', 'epoch'::timestamptz + l.last_ms * interval '1 ms'
    FROM jsonb_to_recordset(findings -> 'late') AS l (asset int, first_ms bigint, last_ms bigint)
    ON CONFLICT (asset, batch) DO UPDATE
    SET first_time = least(late.first_time, excluded.first_time), last_time = greatest(late.last_time, excluded.last_time);

    DELETE FROM standing s USING jsonb_to_recordset(findings -> 'standing') AS f (asset int, state jsonb)
    WHERE s.asset = f.asset AND f.state IS NULL;
    INSERT INTO standing (asset, state)
    SELECT f.asset, f.state FROM jsonb_to_recordset(findings -> 'standing') AS f (asset int, state jsonb) WHERE f.state IS NOT NULL
    ON CONFLICT (asset) DO UPDATE SET state = excluded.state;

    INSERT INTO checkpoint (asset, time, changes, state)
    SELECT c.asset, 'epoch'::timestamptz + c.time_ms * interval '1 ms', of_batch, c.state
    FROM jsonb_to_recordset(findings -> 'checkpoints') AS c (asset int, time_ms bigint, state jsonb)
    ON CONFLICT (asset, time) DO UPDATE SET changes = excluded.changes, state = excluded.state;
END $$;

-- What came of judging an asset again, beside the events that tell of it: {"done": [{batch, first_ms, last_ms}] of marks,
-- "doubts": [{time_ms, lon, lat, flags}], with 0 for none, "from_ms", "until_ms": the span of their fixes,
-- "visits_gone": [ids], "visits": [{id | null, geofence, version, enter_ms, enter_event, initial, exit_ms | null, exit_event | null}],
-- "checkpoints": [{time_ms, changes, state}], "read_until": the last batch that was read, "standing": state | null, "at_end": whether that and "newest" are meant,
-- "newest": the newest trusted fix as columns of `latest`, or null; "seen": the highest batch of the trusted fixes, or null}.
CREATE FUNCTION record_revision(of_asset int, revision jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- A mark that was made wider meanwhile stays.
    DELETE FROM late l USING jsonb_to_recordset(revision -> 'done') AS d (batch bigint, first_ms bigint, last_ms bigint)
    WHERE l.asset = of_asset AND l.batch = d.batch
      AND l.first_time = 'epoch'::timestamptz + d.first_ms * interval '1 ms'
      AND l.last_time = 'epoch'::timestamptz + d.last_ms * interval '1 ms';

    DELETE FROM visit v USING jsonb_array_elements_text(revision -> 'visits_gone') AS g (id) WHERE v.id = g.id::bigint;
    INSERT INTO visit (id, asset, geofence, geofence_version, enter_time, enter_event, initial, exit_time, exit_event)
    OVERRIDING SYSTEM VALUE
    SELECT coalesce(v.id, nextval(pg_get_serial_sequence('visit', 'id'))), of_asset, v.geofence, v.version,
           'epoch'::timestamptz + v.enter_ms * interval '1 ms', v.enter_event, v.initial,
           'epoch'::timestamptz + v.exit_ms * interval '1 ms', v.exit_event
    FROM jsonb_to_recordset(revision -> 'visits') AS v (id bigint, geofence int, version int, enter_ms bigint, enter_event bigint,
                                                        initial boolean, exit_ms bigint, exit_event bigint);

    -- What ingest kept since this was read came of a state that is corrected now.
    IF (revision ->> 'at_end')::boolean THEN
        DELETE FROM checkpoint c WHERE c.asset = of_asset AND c.changes > (revision ->> 'read_until')::bigint
            AND c.time >= 'epoch'::timestamptz + (revision ->> 'from_ms')::bigint * interval '1 ms';
    END IF;
    INSERT INTO checkpoint (asset, time, changes, state)
    SELECT of_asset, 'epoch'::timestamptz + c.time_ms * interval '1 ms', c.changes, c.state
    FROM jsonb_to_recordset(revision -> 'checkpoints') AS c (time_ms bigint, changes bigint, state jsonb)
    ON CONFLICT (asset, time) DO UPDATE SET changes = excluded.changes, state = excluded.state;

    IF jsonb_array_length(revision -> 'doubts') > 0 THEN
        DELETE FROM doubt d USING jsonb_to_recordset(revision -> 'doubts') AS n (time_ms bigint, lon int, lat int, flags smallint)
        WHERE d.asset = of_asset AND d.time = 'epoch'::timestamptz + n.time_ms * interval '1 ms' AND d.lon = n.lon AND d.lat = n.lat;
        INSERT INTO doubt (asset, time, lon, lat, flags)
        SELECT of_asset, 'epoch'::timestamptz + n.time_ms * interval '1 ms', n.lon, n.lat, n.flags
        FROM jsonb_to_recordset(revision -> 'doubts') AS n (time_ms bigint, lon int, lat int, flags smallint)
        WHERE n.flags <> 0;
        -- The first trusted fix of a piece, by which the fleet at an instant is found.
        UPDATE piece p SET trusted_t0 = (
            SELECT min(u.time) FROM unnest(p.time, p.lon, p.lat, p.flags) AS u (time, lon, lat, flags)
            WHERE u.flags = 0 AND NOT EXISTS (
                SELECT FROM doubt d WHERE d.asset = of_asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat))
        WHERE p.asset = of_asset
          AND p.t1 >= 'epoch'::timestamptz + (revision ->> 'from_ms')::bigint * interval '1 ms'
          AND p.t0 <= 'epoch'::timestamptz + (revision ->> 'until_ms')::bigint * interval '1 ms'
          AND p.t0 > 'epoch'::timestamptz + (revision ->> 'from_ms')::bigint * interval '1 ms' - interval '24 hours';
    END IF;

    IF (revision ->> 'at_end')::boolean THEN
        DELETE FROM standing WHERE asset = of_asset;
        IF jsonb_typeof(revision -> 'standing') = 'object' THEN
            INSERT INTO standing (asset, state) VALUES (of_asset, revision -> 'standing');
        END IF;
        -- A fix that was filed before it was doubted is not seen any more.
        UPDATE latest l SET seen = (revision ->> 'seen')::bigint
        WHERE l.asset = of_asset AND l.seen > (revision ->> 'seen')::bigint;
        -- The table knows what is filed only; what it does not know yet comes with the filing.
        IF jsonb_typeof(revision -> 'newest') = 'object' THEN
            UPDATE latest l
            SET time = 'epoch'::timestamptz + n.time_ms * interval '1 ms', lon = n.lon, lat = n.lat, batch = n.batch, device = n.device,
                alt = n.alt, speed = n.speed, course = n.course, accuracy = n.accuracy, attributes = n.attributes,
                seen = greatest(l.seen, n.seen)
            FROM jsonb_to_record(revision -> 'newest') AS n (time_ms bigint, lon int, lat int, batch bigint, device int, alt int,
                speed int, course smallint, accuracy int, attributes jsonb, seen bigint)
            WHERE l.asset = of_asset;
        END IF;
    END IF;
END $$;
