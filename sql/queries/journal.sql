-- name: try_writer_lock
-- Held for the life of the connection that commits batches: whoever has it is the one writer of this database.
SELECT pg_try_advisory_lock($1)

-- name: begin_writer_term
-- Counts each change of whoever has the lock.
UPDATE filed SET term = term + (writer IS DISTINCT FROM $1)::int, writer = $1 RETURNING term

-- name: record_events
SELECT record_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
                     $24, $25, $26, $27, $28, $29, $30, $31, $32)

-- name: record_findings
SELECT record_findings($1, $2)

-- name: record_rejects
INSERT INTO fix_reject (device, stream, seq, code, message, rejected_at)
SELECT r.device, r.stream, r.seq, r.code, r.message, 'epoch'::timestamptz + $6 * interval '1 ms'
FROM unnest($1::int[], $2::text[], $3::bigint[], $4::text[], $5::text[]) AS r (device, stream, seq, code, message)

-- name: prune_rejects
-- Keeps the newest 1,000 of each device.
DELETE FROM fix_reject r USING (
    SELECT device, (array_agg(id ORDER BY id DESC))[1001] AS newest_to_go FROM fix_reject GROUP BY device HAVING count(*) > 1000
) AS d WHERE r.device = d.device AND r.id <= d.newest_to_go

-- name: load_positions_in_feed
-- stored: the last batch that is durable; event: the last event. batch: the last number that is taken, as a geofence or a tag may be in
-- force from a batch on that never came to be.
WITH stored AS (SELECT greatest((SELECT batch FROM filed), (SELECT coalesce(max(batch), 0) FROM journal)) AS batch)
SELECT stored.batch AS stored,
       greatest(stored.batch,
                (SELECT coalesce(max(greatest(from_batch, to_batch)), 0) FROM geofence_version),
                (SELECT coalesce(max(batch), 0) FROM late),
                (SELECT coalesce(max(batch), 0) FROM turning),
                (SELECT coalesce(max(from_batch), 0) FROM asset_tags)) AS batch,
       (SELECT coalesce(max(id), 0) FROM event) AS event
FROM stored

-- name: load_unfiled_streams
SELECT stream, stream_seq FROM journal WHERE stream <> '{}'

-- name: load_newest_filed
-- By many assets, as arrays: rows of their own take twice as long.
SELECT array_agg(asset), array_agg(coalesce(device, 0)), array_agg(time), array_agg(lon), array_agg(lat), array_agg(alt), array_agg(speed),
       array_agg(course), array_agg(accuracy), array_agg(batch), array_agg(seen)
FROM latest WHERE time IS NOT NULL GROUP BY asset >> 14

-- name: load_newest_filed_of_any
-- The same of all fixes, where that is another than the newest trusted one or was seen in another batch.
SELECT array_agg(asset), array_agg(0), array_agg(any_time), array_agg(any_lon), array_agg(any_lat), array_agg(any_alt),
       array_agg(any_speed), array_agg(any_course), array_agg(any_accuracy), array_agg(any_batch), array_agg(any_seen)
FROM latest
WHERE (any_time, any_lon, any_lat, any_alt, any_speed, any_course, any_accuracy, any_batch, any_seen)
      IS DISTINCT FROM (time, lon, lat, alt, speed, course, accuracy, batch, seen)
GROUP BY asset >> 14

-- name: load_unfiled
SELECT asset, device, time, lon, lat, alt, speed, course, accuracy, flags, batch, recorded_at FROM journal WHERE n > 0

-- name: load_doubts_of_unfiled
-- Those from the first to the last instant of fixes in the journal.
SELECT asset, time, lon, lat FROM doubt
WHERE time BETWEEN (SELECT min(t0) FROM journal) AND (SELECT max(t1) FROM journal)

-- name: load_filed_attributes
SELECT asset, attributes::text AS attributes FROM latest WHERE attributes IS NOT NULL

-- name: load_unfiled_attributes
-- Of these fixes: asset, batch, time in epoch milliseconds, lon, lat, alt, speed, course, accuracy; of those that were stored twice any.
SELECT u.asset, u.attributes::text AS attributes
FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.attributes)
    AS u (asset, time, lon, lat, alt, speed, course, accuracy, attributes)
JOIN unnest($1::int[], $2::bigint[], $3::bigint[], $4::int[], $5::int[], $6::int[], $7::int[], $8::smallint[], $9::int[])
    AS n (asset, batch, time_ms, lon, lat, alt, speed, course, accuracy)
  ON n.asset = u.asset AND n.batch = j.batch AND u.time = 'epoch'::timestamptz + n.time_ms * interval '1 ms'
 AND (n.lon, n.lat, n.alt, n.speed, n.course, n.accuracy) = (u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy)
WHERE j.attributes IS NOT NULL AND u.attributes IS NOT NULL

-- name: load_standing
SELECT asset, state FROM standing

-- name: load_late
SELECT DISTINCT asset FROM late ORDER BY asset

-- name: load_open_visits
SELECT v.asset, v.geofence, v.enter_time FROM visit v JOIN geofence g ON g.id = v.geofence AND g.deleted_at IS NULL WHERE v.exit_event IS NULL AND v.near IS NULL

-- name: load_geofences
SELECT g.id, g.version, g.name, g.tags, g.attributes, v.quality, ST_AsBinary(v.geom) AS geom, v.radius_m, v.buffer_m, v.options, v.from_batch,
       (SELECT f.from_batch FROM geofence_version f WHERE f.geofence = g.id AND f.version = 1) AS since_batch
FROM geofence g JOIN geofence_version v ON v.geofence = g.id AND v.version = g.version
WHERE g.deleted_at IS NULL AND v.geom IS NOT NULL
ORDER BY g.id

-- name: open_streams
-- Makes streams known and gives each a session number above all earlier ones. No two are the same. In one order, so that
-- two that do this do not wait for each other.
INSERT INTO stream (device, name, session)
SELECT device, name, 1 FROM unnest($1::int[], $2::text[]) AS s (device, name) ORDER BY device, name
ON CONFLICT (device, name) DO UPDATE SET session = stream.session + 1, opened_at = now()
RETURNING device, name, id, seq, session
