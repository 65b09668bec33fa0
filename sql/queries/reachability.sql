-- When devices were heard of, and what was told of it.

-- name: load_contacts
-- Of each device what is durable of when it was heard of: fix_time is the newest fix's own, for those that are filed do not say
-- when they came.
SELECT d.id, d.status ->> 'reason' AS reason, d.status_at, j.recorded_at, l.time AS fix_time
FROM device d
LEFT JOIN latest l ON l.asset = d.asset AND l.device = d.id
LEFT JOIN (
    SELECT u.device, max(j.recorded_at) AS recorded_at FROM journal j CROSS JOIN LATERAL unnest(j.device) AS u (device) GROUP BY u.device
) AS j ON j.device = d.id
WHERE d.deleted_at IS NULL

-- name: load_reachability
SELECT r.asset, r.device, r.state, r.reason, r.since, r.heard_at FROM reachability r JOIN asset a ON a.id = r.asset AND a.deleted_at IS NULL

-- name: record_reachability
INSERT INTO reachability (asset, device, state, reason, since, heard_at)
SELECT r.asset, r.device, r.state, r.reason, 'epoch'::timestamptz + r.since_ms * interval '1 ms',
       'epoch'::timestamptz + r.heard_ms * interval '1 ms'
FROM unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS r (asset, device, state, reason, since_ms, heard_ms)
ON CONFLICT (asset) DO UPDATE SET device = excluded.device, state = excluded.state, reason = excluded.reason, since = excluded.since,
                                  heard_at = excluded.heard_at
