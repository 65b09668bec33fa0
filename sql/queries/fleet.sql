-- Assets, devices, their tokens, commands and rejects.

-- name: fleet_lock
-- Until the end of the transaction: changes of the fleet are one at a time, so that memory takes them in the order of commit.
SELECT pg_advisory_xact_lock($1)

-- name: load_assets
-- By many assets, as arrays; tags, attributes and thresholds are for themselves, as most have none, or the same.
SELECT array_agg(id) AS ids, array_agg(name) AS names, array_agg(active_device) AS active_devices
FROM asset WHERE deleted_at IS NULL GROUP BY id >> 14

-- name: load_tags
SELECT tags, array_agg(id) AS ids FROM asset WHERE deleted_at IS NULL AND tags <> '{}' GROUP BY tags

-- name: load_details
SELECT id, attributes, thresholds FROM asset WHERE deleted_at IS NULL AND (attributes <> '{}' OR thresholds <> '{}')

-- name: load_devices
SELECT array_agg(id) AS ids, array_agg(name) AS names, array_agg(asset) AS assets FROM device WHERE deleted_at IS NULL GROUP BY id >> 14

-- name: load_configs
SELECT id, config FROM device WHERE deleted_at IS NULL AND config <> '{}'

-- name: reload_assets
SELECT id, name, tags, attributes, active_device, thresholds FROM asset WHERE deleted_at IS NULL AND id = ANY ($1::int[])

-- name: reload_devices
SELECT id, name, asset, config FROM device WHERE deleted_at IS NULL AND id = ANY ($1::int[])

-- name: list_assets
-- After $1, at most $2, of the numbers $3 (null: of all), and with the lowercase words $4 (null: any) in the name or a tag.
SELECT a.id, a.name, a.tags, a.attributes, a.active_device, a.thresholds, a.created_at,
       ARRAY(SELECT d.id FROM device d WHERE d.asset = a.id AND d.deleted_at IS NULL ORDER BY d.id) AS devices
FROM asset a WHERE a.deleted_at IS NULL AND a.id > $1 AND ($3::int[] IS NULL OR a.id = ANY ($3))
  AND ($4::text IS NULL OR strpos(lower(a.name), $4) > 0 OR EXISTS (SELECT FROM unnest(a.tags) AS t (tag) WHERE strpos(lower(t.tag), $4) > 0))
ORDER BY a.id LIMIT $2

-- name: asset_by_id
SELECT a.id, a.name, a.tags, a.attributes, a.active_device, a.thresholds, a.created_at,
       ARRAY(SELECT d.id FROM device d WHERE d.asset = a.id AND d.deleted_at IS NULL ORDER BY d.id) AS devices
FROM asset a WHERE a.deleted_at IS NULL AND a.id = $1

-- name: add_asset
INSERT INTO asset (name, tags, attributes, thresholds) VALUES ($1, $2, $3, jsonb_strip_nulls($4)) RETURNING id

-- name: change_asset
-- Of the thresholds those that are given; null is back to the default.
UPDATE asset SET name = coalesce($2, name), tags = coalesce($3, tags), attributes = coalesce($4, attributes),
                 active_device = coalesce($5, active_device),
                 thresholds = jsonb_strip_nulls(thresholds || coalesce($6::jsonb, '{}'))
WHERE id = $1 AND deleted_at IS NULL
RETURNING id

-- name: delete_asset
UPDATE asset SET deleted_at = now(), active_device = NULL WHERE id = $1 AND deleted_at IS NULL RETURNING id

-- name: known_assets
SELECT id FROM asset WHERE id = ANY ($1::int[]) AND deleted_at IS NULL

-- name: choose_active_devices
-- Where the active device has gone, or there never was one: the first that is left.
UPDATE asset a SET active_device = (SELECT min(d.id) FROM device d WHERE d.asset = a.id AND d.deleted_at IS NULL)
WHERE a.id = ANY ($1::int[])
  AND NOT EXISTS (SELECT FROM device d WHERE d.id = a.active_device AND d.asset = a.id AND d.deleted_at IS NULL)

-- name: list_devices
SELECT d.id, d.name, d.asset, a.name AS asset_name, d.config, d.status, d.status_at, d.created_at,
       a.active_device IS NOT DISTINCT FROM d.id AS active
FROM device d JOIN asset a ON a.id = d.asset
WHERE d.deleted_at IS NULL AND d.id > $1 AND ($3::int IS NULL OR d.asset = $3)
ORDER BY d.id LIMIT $2

-- name: device_by_id
SELECT d.id, d.name, d.asset, a.name AS asset_name, d.config, d.status, d.status_at, d.created_at,
       a.active_device IS NOT DISTINCT FROM d.id AS active
FROM device d JOIN asset a ON a.id = d.asset
WHERE d.deleted_at IS NULL AND d.id = $1

-- name: streams_of_device
-- As far as it is durable: what the journal holds is not in the table yet. The newest 100, and how many there are.
SELECT s.name, greatest(s.seq, j.seq) AS seq, s.gaps + coalesce(j.gaps, 0) AS gaps, s.opened_at, count(*) OVER () AS known
FROM stream s LEFT JOIN (
    SELECT u.stream, max(u.seq) AS seq, sum(u.gaps)::bigint AS gaps
    FROM journal j CROSS JOIN LATERAL unnest(j.stream, j.stream_seq, j.stream_gaps) AS u (stream, seq, gaps)
    WHERE u.stream IN (SELECT id FROM stream WHERE device = $1)
    GROUP BY u.stream
) AS j ON j.stream = s.id
WHERE s.device = $1
ORDER BY s.opened_at DESC, s.id DESC LIMIT 100

-- name: add_devices
-- Parallel arrays: names, assets (null: one is made), hashes of the tokens. In the order given.
WITH draft AS MATERIALIZED (
    SELECT d.n, d.name, d.hash, d.asset IS NULL AS alone,
           coalesce(d.asset, nextval(pg_get_serial_sequence('asset', 'id'))::int) AS asset,
           nextval(pg_get_serial_sequence('device', 'id'))::int AS id
    FROM unnest($1::text[], $2::int[], $3::bytea[]) WITH ORDINALITY AS d (name, asset, hash, n)
), assets AS (
    INSERT INTO asset (id, name, active_device) OVERRIDING SYSTEM VALUE SELECT asset, name, id FROM draft WHERE alone
), devices AS (
    INSERT INTO device (id, name, asset) OVERRIDING SYSTEM VALUE SELECT id, name, asset FROM draft
), tokens AS (
    INSERT INTO token (kind, name, hash, device) SELECT 'device', name, hash, id FROM draft
)
SELECT d.id, d.asset, coalesce(a.name, d.name) AS asset_name
FROM draft d LEFT JOIN asset a ON a.id = d.asset
ORDER BY d.n

-- name: change_device
UPDATE device SET name = coalesce($2, name), asset = coalesce($3, asset), config = coalesce($4, config)
WHERE id = $1 AND deleted_at IS NULL
RETURNING id

-- name: delete_devices
-- Returns every token that they ever had: one that ended in an earlier try may not have been told of.
WITH gone AS (
    UPDATE device SET deleted_at = now() WHERE id = ANY ($1::int[]) AND deleted_at IS NULL
)
UPDATE token SET revoked_at = coalesce(revoked_at, now()) WHERE device = ANY ($1::int[]) RETURNING id

-- name: tokens_of_device
SELECT id FROM token WHERE device = $1 AND revoked_at IS NULL ORDER BY id

-- name: add_device_token
INSERT INTO token (kind, name, hash, device) SELECT 'device', name, $2, id FROM device WHERE id = $1 RETURNING id

-- name: revoke_tokens
UPDATE token SET revoked_at = now() WHERE id = ANY ($1::int[]) AND revoked_at IS NULL

-- name: list_rejects
SELECT id, stream, seq, code, message, rejected_at FROM fix_reject WHERE device = $3 AND id > $1 ORDER BY id LIMIT $2

-- name: add_command
INSERT INTO command (device, name, args)
SELECT id, $2, $3 FROM device
WHERE id = $1 AND deleted_at IS NULL AND (SELECT count(*) FROM command WHERE device = $1 AND answered_at IS NULL) < $4
RETURNING id

-- name: list_commands
SELECT id, name, args, created_at, sent_at, answered_at, ok, value FROM command WHERE device = $3 AND id > $1 ORDER BY id LIMIT $2
