-- Hooks and their deliveries: what the dispatcher reads and writes, then what the doors do.
-- The conditions of the partial indexes delivery_lane and delivery_retry are repeated word for word, or they are not used.

-- name: hooks_endpoints
SELECT id, url, secret, failing_since FROM hook WHERE disabled_at IS NULL AND deleted_at IS NULL

-- name: hooks_endpoint
SELECT id, url, secret, failing_since FROM hook WHERE id = $1::bigint AND deleted_at IS NULL

-- name: hooks_newest
SELECT coalesce(max(id), 0) AS id FROM delivery

-- name: hooks_fresh
-- The lanes of the next $2 deliveries above $1, and whether a failed head holds them. Ids rise in the order of commit: one writer.
WITH fresh AS MATERIALIZED (SELECT id, hook, asset FROM delivery WHERE id > $1 ORDER BY id LIMIT $2)
SELECT f.hook, f.asset, max(f.id) AS newest, count(*) AS deliveries, coalesce((
           SELECT d.attempts > 0 FROM delivery d
           WHERE d.hook = f.hook AND d.asset = f.asset AND d.state = 'pending' AND NOT d.redelivery
           ORDER BY d.event LIMIT 1), true) AS held
FROM fresh f
GROUP BY f.hook, f.asset

-- name: hooks_lanes
-- The next $3 lanes of hook $1 with assets above $2, each by one step through the index, however long the lanes are.
WITH RECURSIVE lane AS (
    (SELECT d.asset, d.attempts, d.due_at FROM delivery d
     WHERE d.hook = $1 AND d.asset > $2 AND d.state = 'pending' AND NOT d.redelivery
     ORDER BY d.asset, d.event LIMIT 1)
    UNION ALL
    SELECT d.asset, d.attempts, d.due_at
    FROM lane l CROSS JOIN LATERAL (
        SELECT d.asset, d.attempts, d.due_at FROM delivery d
        WHERE d.hook = $1 AND d.asset > l.asset AND d.state = 'pending' AND NOT d.redelivery
        ORDER BY d.asset, d.event LIMIT 1
    ) AS d
)
SELECT asset, attempts, due_at FROM lane LIMIT $3

-- name: hooks_page
-- The next $4 deliveries of each lane ($1 hook, $2 asset) above the event $3. LIMIT 1 keeps events a look-up by key, whatever the planner guesses.
SELECT d.hook, d.id AS delivery, d.due_at, d.attempts, d.refusals, d.first_attempt_at, e.*
FROM unnest($1::int[], $2::int[], $3::bigint[]) AS l (hook, asset, after)
CROSS JOIN LATERAL (
    SELECT * FROM delivery d
    WHERE d.hook = l.hook AND d.asset = l.asset AND d.event > l.after AND d.state = 'pending' AND NOT d.redelivery
    ORDER BY d.event LIMIT $4
) AS d
CROSS JOIN LATERAL (SELECT * FROM event e WHERE e.id = d.event LIMIT 1) AS e
ORDER BY d.hook, d.event

-- name: hooks_due
-- At most $3 retries and redeliveries of each of the hooks $1 whose time has come at $2.
SELECT d.hook, d.id AS delivery, d.redelivery, d.attempts, d.refusals, d.first_attempt_at, e.*
FROM unnest($1::int[]) AS h (hook)
CROSS JOIN LATERAL (
    SELECT * FROM delivery d
    WHERE d.hook = h.hook AND d.due_at <= $2 AND d.state = 'pending' AND (d.attempts > 0 OR d.redelivery)
    ORDER BY d.due_at LIMIT $3
) AS d
CROSS JOIN LATERAL (SELECT * FROM event e WHERE e.id = d.event LIMIT 1) AS e
ORDER BY d.hook, d.due_at

-- name: hooks_next_due
SELECT h.hook, (
    SELECT d.due_at FROM delivery d
    WHERE d.hook = h.hook AND d.due_at > $2 AND d.state = 'pending' AND (d.attempts > 0 OR d.redelivery)
    ORDER BY d.due_at LIMIT 1
) AS due_at
FROM unnest($1::int[]) AS h (hook)

-- name: hooks_save
-- What attempts led to. Absolute values: doing it twice changes nothing.
UPDATE delivery d
SET state = o.state, attempts = o.attempts, refusals = o.refusals, due_at = o.due_at, first_attempt_at = o.first_attempt_at,
    last_attempt_at = o.last_attempt_at, last_status = o.last_status, last_error = o.last_error, delivered_at = o.delivered_at
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::int[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::int[],
    $9::text[], $10::timestamptz[]) AS o (id, state, attempts, refusals, due_at, first_attempt_at, last_attempt_at, last_status,
    last_error, delivered_at)
WHERE d.id = o.id AND d.state = 'pending'

-- name: hooks_failing
UPDATE hook h SET failing_since = f.since
FROM unnest($1::int[], $2::timestamptz[]) AS f (id, since)
WHERE h.id = f.id

-- name: hooks_disable
UPDATE hook SET disabled_at = now(), disabled_reason = $2 WHERE id = $1 AND disabled_at IS NULL

-- name: hooks_insert
INSERT INTO hook (url, types, assets, geofences, secret) VALUES ($1, $2, $3, $4, $5)
RETURNING id, url, types, assets, geofences, failing_since, disabled_at, disabled_reason, created_at

-- name: hooks_list
SELECT id, url, types, assets, geofences, failing_since, disabled_at, disabled_reason, created_at
FROM hook WHERE id > $1::bigint AND deleted_at IS NULL ORDER BY id LIMIT $2

-- name: hooks_get
SELECT id, url, types, assets, geofences, failing_since, disabled_at, disabled_reason, created_at
FROM hook WHERE id = $1::bigint AND deleted_at IS NULL

-- name: hooks_update
-- Each field with a flag that says whether it was given; $10: null leaves the hook enabled or disabled as it is.
-- A hook that is enabled again begins anew with what waits: its retries are due now and have three days again.
WITH changed AS (
    UPDATE hook SET
        url = CASE WHEN $2 THEN $3 ELSE url END,
        types = CASE WHEN $4 THEN $5 ELSE types END,
        assets = CASE WHEN $6 THEN $7 ELSE assets END,
        geofences = CASE WHEN $8 THEN $9 ELSE geofences END,
        disabled_at = CASE WHEN $10 THEN NULL WHEN NOT $10 THEN coalesce(disabled_at, now()) ELSE disabled_at END,
        disabled_reason = CASE WHEN $10 THEN NULL WHEN NOT $10 THEN coalesce(disabled_reason, $11) ELSE disabled_reason END,
        failing_since = CASE WHEN $10 THEN NULL ELSE failing_since END
    WHERE id = $1::bigint AND deleted_at IS NULL
    RETURNING id, url, types, assets, geofences, failing_since, disabled_at, disabled_reason, created_at
), renewed AS (
    UPDATE delivery SET attempts = 0, refusals = 0, first_attempt_at = NULL, due_at = now()
    WHERE $10 AND hook = (SELECT id FROM changed) AND state = 'pending' AND (attempts > 0 OR redelivery)
)
SELECT * FROM changed

-- name: hooks_delete
UPDATE hook SET deleted_at = now() WHERE id = $1::bigint AND deleted_at IS NULL RETURNING id

-- name: hooks_unknown_assets
SELECT i.id FROM unnest($1::bigint[]) AS i (id) WHERE NOT EXISTS (SELECT FROM asset a WHERE a.id = i.id AND a.deleted_at IS NULL)

-- name: hooks_unknown_geofences
SELECT i.id FROM unnest($1::bigint[]) AS i (id) WHERE NOT EXISTS (SELECT FROM geofence g WHERE g.id = i.id AND g.deleted_at IS NULL)

-- name: hooks_deliveries
-- The newest $3 of hook $1 below the id $2 that are in one of the states $4: a walk through delivery_log for each state.
SELECT d.*
FROM unnest($4::text[]) AS s (state)
CROSS JOIN LATERAL (
    SELECT id, event, state, attempts, due_at, last_attempt_at, last_status, last_error, delivered_at
    FROM delivery d WHERE d.hook = $1 AND d.state = s.state AND -d.id > -($2::bigint) ORDER BY -d.id LIMIT $3
) AS d
ORDER BY d.id DESC
LIMIT $3

-- name: hooks_delivery
SELECT d.id, d.state FROM delivery d JOIN hook h ON h.id = d.hook AND h.deleted_at IS NULL WHERE d.hook = $1 AND d.id = $2::bigint

-- name: hooks_redeliver
UPDATE delivery SET state = 'pending', redelivery = true, attempts = 0, refusals = 0, first_attempt_at = NULL, due_at = now(),
    delivered_at = NULL
WHERE hook = $1 AND id = $2 AND state <> 'pending'
RETURNING id, event, state, attempts, due_at, last_attempt_at, last_status, last_error, delivered_at
