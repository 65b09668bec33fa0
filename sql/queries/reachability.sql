-- When devices were heard of, and what was told of it.

-- name: load_statuses
-- When devices said last how they are.
SELECT id, status_at FROM device WHERE deleted_at IS NULL AND status_at IS NOT NULL

-- name: load_reasons
SELECT id, status ->> 'reason' AS reason FROM device WHERE deleted_at IS NULL AND status ->> 'reason' <> ''

-- name: load_reachability
-- state and reason: their places in $1 and $2, 0 for another reason or none.
SELECT r.asset, r.device, array_position($1::text[], r.state), coalesce(array_position($2::text[], r.reason), 0), r.since, r.heard_at
FROM reachability r JOIN asset a ON a.id = r.asset AND a.deleted_at IS NULL

-- name: record_reachability
INSERT INTO reachability (asset, device, state, reason, since, heard_at)
SELECT r.asset, r.device, r.state, r.reason, 'epoch'::timestamptz + r.since_ms * interval '1 ms',
       'epoch'::timestamptz + r.heard_ms * interval '1 ms'
FROM unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS r (asset, device, state, reason, since_ms, heard_ms)
ON CONFLICT (asset) DO UPDATE SET device = excluded.device, state = excluded.state, reason = excluded.reason, since = excluded.since,
                                  heard_at = excluded.heard_at
