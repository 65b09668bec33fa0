-- Geofences around assets: they have no geometry; their events and visits name the other asset.

ALTER TABLE geofence_version ALTER COLUMN geom DROP NOT NULL;
CREATE INDEX geofence_version_around ON geofence_version (geofence) WHERE geom IS NULL AND to_batch IS NULL;

ALTER TABLE event
    ADD COLUMN near      int,                                    -- the other asset
    ADD COLUMN near_name text,
    ADD COLUMN near_m    double precision;                       -- how far it was; null: nobody knew any more

-- since_batch: the first that judged the two by this version and by the tags that they had then; what was told before is final.
ALTER TABLE visit
    ADD COLUMN near        int,
    ADD COLUMN since_batch bigint;
DROP INDEX visit_open;
CREATE UNIQUE INDEX visit_open ON visit (asset, geofence) WHERE exit_event IS NULL AND near IS NULL;
CREATE UNIQUE INDEX visit_near_open ON visit (geofence, asset, near) WHERE exit_event IS NULL AND near IS NOT NULL;
CREATE INDEX visit_near_asset ON visit (geofence, asset, exit_time) WHERE near IS NOT NULL;
CREATE INDEX visit_near_other ON visit (geofence, near, exit_time) WHERE near IS NOT NULL;

-- Fixes that came to be doubted, or no more, since pairs were judged: whoever judges them looks again from there.
CREATE TABLE doubt_mark (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset int NOT NULL,
    time  timestamptz NOT NULL
);

CREATE FUNCTION mark_doubt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM geofence_version v JOIN geofence g ON g.id = v.geofence AND g.deleted_at IS NULL
               WHERE v.geom IS NULL AND v.to_batch IS NULL) THEN
        INSERT INTO doubt_mark (asset, time) SELECT (coalesce(new, old)).asset, (coalesce(new, old)).time;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER doubt_marked AFTER INSERT OR UPDATE OR DELETE ON doubt FOR EACH ROW EXECUTE FUNCTION mark_doubt();

-- What came of judging pairs: {"events": [{id, type, status, asset, asset_name, geofence, geofence_name, version, time_ms, lon, lat, cause,
-- revises, near, near_name, near_m}], "gone": [ids of visits], "visits": [{id | null, asset, geofence, version, near, since_batch, enter_ms,
-- enter_event, exit_ms | null, exit_event | null}], "marks": [ids of doubt_mark]}. Visits that are there already keep their ids.
CREATE FUNCTION record_proximity(recorded_ms bigint, outcome jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (id, type, status, asset, asset_name, geofence, geofence_name, geofence_version, fix_time, recorded_at, lon, lat,
                       cause, revises, near, near_name, near_m)
    SELECT e.id, e.type, e.status, e.asset, e.asset_name, e.geofence, e.geofence_name, e.version,
           'epoch'::timestamptz + e.time_ms * interval '1 ms', 'epoch'::timestamptz + recorded_ms * interval '1 ms', e.lon, e.lat,
           e.cause, e.revises, e.near, e.near_name, e.near_m
    FROM jsonb_to_recordset(outcome -> 'events') AS e (id bigint, type text, status text, asset int, asset_name text, geofence int,
         geofence_name text, version int, time_ms bigint, lon int, lat int, cause text, revises bigint, near int, near_name text,
         near_m double precision);

    DELETE FROM visit WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text(outcome -> 'gone'));

    -- Those that end come first, as only one of a pair may be open.
    UPDATE visit v SET enter_time = 'epoch'::timestamptz + n.enter_ms * interval '1 ms', enter_event = n.enter_event,
                       exit_time = 'epoch'::timestamptz + n.exit_ms * interval '1 ms', exit_event = n.exit_event
    FROM jsonb_to_recordset(outcome -> 'visits') AS n (id bigint, enter_ms bigint, enter_event bigint, exit_ms bigint, exit_event bigint)
    WHERE v.id = n.id AND n.exit_event IS NOT NULL;
    UPDATE visit v SET enter_time = 'epoch'::timestamptz + n.enter_ms * interval '1 ms', enter_event = n.enter_event,
                       exit_time = NULL, exit_event = NULL
    FROM jsonb_to_recordset(outcome -> 'visits') AS n (id bigint, enter_ms bigint, enter_event bigint, exit_event bigint)
    WHERE v.id = n.id AND n.exit_event IS NULL;
    INSERT INTO visit (asset, geofence, geofence_version, near, since_batch, enter_time, enter_event, exit_time, exit_event)
    SELECT n.asset, n.geofence, n.version, n.near, n.since_batch, 'epoch'::timestamptz + n.enter_ms * interval '1 ms', n.enter_event,
           'epoch'::timestamptz + n.exit_ms * interval '1 ms', n.exit_event
    FROM jsonb_to_recordset(outcome -> 'visits') AS n (id bigint, asset int, geofence int, version int, near int, since_batch bigint,
         enter_ms bigint, enter_event bigint, exit_ms bigint, exit_event bigint)
    WHERE n.id IS NULL;

    INSERT INTO delivery (hook, event, asset)
    SELECT h.id, e.id, e.asset
    FROM jsonb_to_recordset(outcome -> 'events') AS e (id bigint, type text, asset int, geofence int)
    JOIN hook h ON e.type = ANY (h.types) AND (h.assets IS NULL OR e.asset = ANY (h.assets))
               AND (h.geofences IS NULL OR e.geofence = ANY (h.geofences)) AND h.deleted_at IS NULL
    ORDER BY e.id;

    DELETE FROM doubt_mark WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text(outcome -> 'marks'));
END $$;
