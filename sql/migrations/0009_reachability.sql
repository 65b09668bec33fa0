-- What was told last of whether an asset is heard of, so that a restart tells nothing twice. Without a row it is online, or was
-- never heard of.
CREATE TABLE reachability (
    asset    int PRIMARY KEY REFERENCES asset,
    device   int NOT NULL REFERENCES device,            -- the active one then
    state    text NOT NULL CHECK (state IN ('online', 'silent', 'offline')),
    reason   text,
    since    timestamptz NOT NULL,
    heard_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What could be told of the time before happened then: whoever is there tells it by its next message.
INSERT INTO reachability (asset, device, state, reason, since, heard_at)
SELECT a.id, a.active_device, 'offline', 'server_restarted', least(l.time, now()), least(l.time, now())
FROM asset a JOIN latest l ON l.asset = a.id
WHERE a.deleted_at IS NULL AND a.active_device IS NOT NULL AND l.time IS NOT NULL;
