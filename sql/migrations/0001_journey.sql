-- The tables of the journey. Numbers on the hot path are integers: lon and lat in 1e-7 degrees, lengths in 0.1 m,
-- speeds in 0.01 m/s, courses in 0.1 degrees; the smallest value of a type means "not known".

CREATE EXTENSION IF NOT EXISTS postgis;

-- Who is followed and who sends -----------------------------------------------------------------------------------

CREATE TABLE asset (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL,
    tags          text[] NOT NULL DEFAULT '{}',
    attributes    jsonb NOT NULL DEFAULT '{}',
    active_device int,                                  -- the one device whose fixes move the asset; its first, until changed
    created_at    timestamptz NOT NULL DEFAULT now(),
    deleted_at    timestamptz
);

CREATE TABLE device (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    asset       int NOT NULL REFERENCES asset,          -- where its next fixes go; history stays where it was
    config      jsonb NOT NULL DEFAULT '{}',            -- what the device is asked to be set to
    status      jsonb NOT NULL DEFAULT '{}',            -- what it last said of itself
    status_at   timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);
CREATE INDEX device_asset ON device (asset);
ALTER TABLE asset ADD FOREIGN KEY (active_device) REFERENCES device;

-- A device's numbered buffer. seq lags behind the journal by what is not filed yet.
CREATE TABLE stream (
    id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device    int NOT NULL REFERENCES device,
    name      text NOT NULL,
    seq       bigint NOT NULL DEFAULT 0,
    session   int NOT NULL DEFAULT 0,                   -- one more each time a socket takes the stream: fences off the older one
    gaps      bigint NOT NULL DEFAULT 0,                -- numbers that were skipped and can no longer be sent
    opened_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (device, name)
);

-- Fixes that were refused for good, newest 1,000 of a device.
CREATE TABLE fix_reject (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device      int NOT NULL REFERENCES device,
    stream      text NOT NULL,
    seq         bigint NOT NULL,
    code        text NOT NULL,
    message     text NOT NULL,
    rejected_at timestamptz NOT NULL
);
CREATE INDEX fix_reject_device ON fix_reject (device, id);

CREATE TABLE command (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device      int NOT NULL REFERENCES device,
    name        text NOT NULL,
    args        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    sent_at     timestamptz,
    answered_at timestamptz,
    ok          boolean,
    value       jsonb
);
CREATE INDEX command_waiting ON command (device, id) WHERE answered_at IS NULL;

-- The journal: batches as they were acked -------------------------------------------------------------------------

-- One row per batch and bucket of assets (asset & 15). The arrays of a row are parallel; stream_* are a second set.
CREATE TABLE journal (
    bucket         smallint NOT NULL,
    batch          bigint NOT NULL,
    recorded_at    timestamptz NOT NULL,
    n              int NOT NULL,
    t0             timestamptz,                         -- null when every fix of the batch was rejected or known
    t1             timestamptz,
    asset          int[] NOT NULL,
    device         int[] NOT NULL,
    time           timestamptz[] NOT NULL,
    lon            int[] NOT NULL,
    lat            int[] NOT NULL,
    alt            int[] NOT NULL,
    speed          int[] NOT NULL,
    course         smallint[] NOT NULL,
    accuracy       int[] NOT NULL,
    flags          smallint[] NOT NULL,
    attributes     jsonb[],                             -- null when no fix of the row has any
    stream         int[] NOT NULL,
    stream_seq     bigint[] NOT NULL,
    stream_session int[] NOT NULL,
    stream_gaps    bigint[] NOT NULL,
    PRIMARY KEY (bucket, batch)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000
);

-- One asset's stretch of fixes within one UTC day, in event time; day partitions are made ahead by the keeper.
CREATE TABLE piece (
    asset      int NOT NULL,
    t0         timestamptz NOT NULL,
    t1         timestamptz NOT NULL,
    trusted_t0 timestamptz,                             -- its first fix without flags
    n          int NOT NULL,
    west       int NOT NULL,
    south      int NOT NULL,
    east       int NOT NULL,
    north      int NOT NULL,
    batch      bigint[] NOT NULL,
    device     int[] NOT NULL,
    time       timestamptz[] NOT NULL,
    lon        int[] NOT NULL,
    lat        int[] NOT NULL,
    alt        int[] NOT NULL,
    speed      int[] NOT NULL,
    course     smallint[] NOT NULL,
    accuracy   int[] NOT NULL,
    flags      smallint[] NOT NULL,
    attributes jsonb[]
) PARTITION BY RANGE (t0);
CREATE INDEX piece_asset ON piece (asset, t0);

-- pglz, the default, costs four times as much; a server built without lz4 keeps it.
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT attrelid::regclass AS t, attname FROM pg_attribute
             WHERE attrelid IN ('journal'::regclass, 'piece'::regclass) AND attnum > 0 AND attndims > 0 LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION lz4', c.t, c.attname);
    END LOOP;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this PostgreSQL has no lz4: history takes more time to compress';
END $$;

-- Makes the partitions of the days from yesterday to the day after tomorrow. What is older than the first day that was
-- ever made goes to one partition for old days.
CREATE FUNCTION make_piece_days(today date) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    day date;
    made int := 0;
BEGIN
    IF to_regclass('piece_old') IS NULL THEN
        EXECUTE format('CREATE TABLE piece_old PARTITION OF piece FOR VALUES FROM (MINVALUE) TO (%L)',
                       (today - 1)::timestamp AT TIME ZONE 'UTC');
        made := 1;
    END IF;
    FOR day IN SELECT generate_series(greatest(today - 1,
                   (SELECT coalesce(max(substring(relname FROM 7)::date) + 1, today - 1) FROM pg_class
                    WHERE relname ~ '^piece_\d{8}$' AND relkind = 'r')), today + 2, interval '1 day')::date LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF piece FOR VALUES FROM (%L) TO (%L)', 'piece_' || to_char(day, 'YYYYMMDD'),
                       day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- The newest fix of each asset in event order (time, lon, lat), as far as it is filed: of all that were stored, and of those
-- that are trusted. The batch of each says which geofence versions have seen the asset.
CREATE TABLE latest (
    asset       int PRIMARY KEY,
    any_time    timestamptz NOT NULL,
    any_lon     int NOT NULL,
    any_lat     int NOT NULL,
    any_batch   bigint NOT NULL,
    time        timestamptz,
    lon         int,
    lat         int,
    batch       bigint,
    device      int,
    alt         int,
    speed       int,
    course      smallint,
    accuracy    int,
    attributes  jsonb
) WITH (fillfactor = 50);

-- The highest batch that was filed; the next batch is above this and above the journal.
CREATE TABLE filed (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    batch bigint NOT NULL
);
INSERT INTO filed VALUES (true, 0);

-- Geofences, visits, events ---------------------------------------------------------------------------------------

CREATE TABLE geofence (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version    int NOT NULL DEFAULT 1,                  -- the current one
    name       text NOT NULL,
    tags       text[] NOT NULL DEFAULT '{}',
    attributes jsonb NOT NULL DEFAULT '{}',             -- the caller's own properties
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

-- A version judges the fixes stored in batches from_batch <= batch < to_batch.
CREATE TABLE geofence_version (
    geofence   int NOT NULL REFERENCES geofence,
    version    int NOT NULL,
    quality    text NOT NULL CHECK (quality IN ('trusted', 'all')),
    geom       geometry(Geometry, 4326) NOT NULL,       -- a point for a circle
    radius_m   double precision CHECK (radius_m > 0),
    from_batch bigint NOT NULL,
    to_batch   bigint,
    PRIMARY KEY (geofence, version)
);

-- Positions in one feed, in the order of commit; rows never change. lon and lat in 1e-7 degrees.
CREATE TABLE event (
    id               bigint PRIMARY KEY,
    type             text NOT NULL,
    status           text NOT NULL DEFAULT 'live' CHECK (status IN ('live', 'late', 'revised', 'retracted')),
    asset            int NOT NULL,
    asset_name       text NOT NULL,
    geofence         int,
    geofence_name    text,
    geofence_version int,
    device           int,
    batch            bigint,                            -- of the fix that revealed it; null for a changed geofence
    fix_time         timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    lon              int,
    lat              int,
    initial          boolean NOT NULL DEFAULT false,
    cause            text,
    revises          bigint,
    crossed_at       timestamptz
);
CREATE INDEX event_asset ON event (asset, id);
CREATE INDEX event_geofence ON event (geofence, id);
CREATE INDEX event_fix_time ON event (fix_time);

-- One stay. The open ones are the presence of the fleet.
CREATE TABLE visit (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset            int NOT NULL,
    geofence         int NOT NULL REFERENCES geofence,
    geofence_version int NOT NULL,                      -- the one that saw the asset enter
    enter_time       timestamptz NOT NULL,
    enter_event      bigint NOT NULL,
    initial          boolean NOT NULL DEFAULT false,
    exit_time        timestamptz,
    exit_event       bigint
);
CREATE UNIQUE INDEX visit_open ON visit (asset, geofence) WHERE exit_event IS NULL;
CREATE INDEX visit_asset ON visit (asset, enter_time);
CREATE INDEX visit_geofence ON visit (geofence, enter_time);

-- Hooks -----------------------------------------------------------------------------------------------------------

CREATE TABLE hook (
    id              int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url             text NOT NULL,
    types           text[] NOT NULL,
    assets          int[],                              -- null: every asset
    geofences       int[],                              -- null: every geofence
    secret          bytea NOT NULL,
    disabled_at     timestamptz,
    disabled_reason text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz
);

-- The outbox and the delivery log in one: a row for each event and hook, written in the event's own transaction.
CREATE TABLE delivery (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hook            int NOT NULL REFERENCES hook,
    event           bigint NOT NULL REFERENCES event,
    asset           int NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        int NOT NULL DEFAULT 0,
    due_at          timestamptz NOT NULL DEFAULT now(),
    last_attempt_at timestamptz,
    last_status     int,                                -- HTTP status; null when no answer came
    last_error      text,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (hook, event)
);
CREATE INDEX delivery_pending ON delivery (hook, asset, event) WHERE state = 'pending';
CREATE INDEX delivery_hook ON delivery (hook, id);

-- Access ----------------------------------------------------------------------------------------------------------

CREATE TABLE account (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('viewer', 'dispatcher', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

-- Secrets are 256 random bits, so a plain SHA-256 of them is enough.
CREATE TABLE token (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('device', 'gateway', 'api')),
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    device     int REFERENCES device,                   -- kind device
    role       text CHECK (role IN ('viewer', 'dispatcher', 'admin')),  -- kind api
    account    int REFERENCES account,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CHECK ((kind = 'device') = (device IS NOT NULL)),
    CHECK ((kind = 'api') = (role IS NOT NULL))
);
CREATE INDEX token_device ON token (device);

CREATE TABLE session (
    hash       bytea PRIMARY KEY,
    account    int REFERENCES account,
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('viewer', 'dispatcher', 'admin')),
    token      int REFERENCES token,                    -- the token it was made from: revoking that ends the session
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- A sign-in link works once.
CREATE TABLE sign_in_code (
    hash       bytea PRIMARY KEY,
    account    int REFERENCES account,
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('viewer', 'dispatcher', 'admin')),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

-- The answer that a write with an Idempotency-Key was given, kept for a day.
CREATE TABLE idempotency (
    caller     text NOT NULL,
    key        text NOT NULL,
    request    bytea NOT NULL,                          -- SHA-256 of method, path and body
    status     int,                                     -- null while the first request is under way
    body       bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);

-- Recording -------------------------------------------------------------------------------------------------------

-- Writes what a batch, or a changed geofence, brought about: events, the visits that they close and open, and the outbox.
-- One call, so one round trip; its statements run in order, as a visit may have to close before the next one opens.
-- Parallel arrays: e_* are events, c_* visits that were open before, o_* visits that begin (and may end) here. Times are epoch ms.
CREATE FUNCTION record_events(
    recorded_ms bigint, of_batch bigint,
    e_id bigint[], e_type text[], e_asset int[], e_asset_name text[], e_geofence int[], e_geofence_name text[], e_version int[],
    e_device int[], e_time_ms bigint[], e_lon int[], e_lat int[], e_initial boolean[], e_cause text[],
    c_asset int[], c_geofence int[], c_time_ms bigint[], c_event bigint[],
    o_asset int[], o_geofence int[], o_version int[], o_enter_ms bigint[], o_enter_event bigint[], o_initial boolean[],
    o_exit_ms bigint[], o_exit_event bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (id, type, asset, asset_name, geofence, geofence_name, geofence_version, device, batch, fix_time,
                       recorded_at, lon, lat, initial, cause)
    SELECT e.id, e.type, e.asset, e.asset_name, e.geofence, e.geofence_name, e.version, e.device, of_batch,
           'epoch'::timestamptz + e.time_ms * interval '1 ms', 'epoch'::timestamptz + recorded_ms * interval '1 ms',
           e.lon, e.lat, e.initial, e.cause
    FROM unnest(e_id, e_type, e_asset, e_asset_name, e_geofence, e_geofence_name, e_version, e_device, e_time_ms, e_lon, e_lat,
                e_initial, e_cause)
         AS e (id, type, asset, asset_name, geofence, geofence_name, version, device, time_ms, lon, lat, initial, cause);

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
