-- Where judging again begins, and what is kept of where it may begin.

-- `floor`: nothing before this state is judged again. `lasting`: it stays, however old it grows.
ALTER TABLE checkpoint
    ADD COLUMN floor   boolean NOT NULL DEFAULT false,
    ADD COLUMN lasting boolean NOT NULL DEFAULT false;
CREATE INDEX checkpoint_passing ON checkpoint (time) WHERE NOT lasting;

-- What was stored before assets were judged again was told by other rules: without doubts, without the instants of crossings, and late fixes
-- decided nothing. It stays as it was told. Each asset that has a history and no state to begin from is given its present one.
WITH fix AS (
    SELECT l.asset, l.any_time AS time, l.any_lon AS lon, l.any_lat AS lat, l.any_alt AS alt, l.any_speed AS speed, l.any_course::int AS course,
           l.any_accuracy AS accuracy, l.any_batch AS batch, l.any_seen AS seen, false AS trusted
    FROM latest l
    UNION ALL
    SELECT l.asset, l.time, l.lon, l.lat, l.alt, l.speed, l.course, l.accuracy, l.batch, l.seen, true FROM latest l WHERE l.time IS NOT NULL
    UNION ALL
    SELECT u.asset, u.time, u.lon, u.lat, u.alt, u.speed, u.course, u.accuracy, j.batch, j.batch, u.flags = 0 AND NOT EXISTS (
               SELECT FROM doubt d WHERE d.asset = u.asset AND d.time = u.time AND d.lon = u.lon AND d.lat = u.lat)
    FROM journal j CROSS JOIN LATERAL unnest(j.asset, j.time, j.lon, j.lat, j.alt, j.speed, j.course, j.accuracy, j.flags)
        AS u (asset, time, lon, lat, alt, speed, course, accuracy, flags)
), newest AS (
    SELECT DISTINCT ON (f.asset, q.trusted) f.asset, q.trusted, f.time, jsonb_build_object(
               'time_ms', (extract(epoch FROM f.time) * 1000)::bigint, 'lon', f.lon, 'lat', f.lat, 'alt', f.alt, 'speed', f.speed,
               'course', f.course, 'accuracy', f.accuracy, 'batch', f.batch,
               'seen', max(f.seen) OVER (PARTITION BY f.asset, q.trusted)) AS fix
    FROM fix f JOIN (VALUES (false), (true)) AS q (trusted) ON f.trusted OR NOT q.trusted
    ORDER BY f.asset, q.trusted, f.time DESC, f.lon DESC, f.lat DESC, f.alt, f.speed, f.course, f.accuracy, f.batch
), known AS (
    SELECT e.asset, e.time, e.fix AS newest, t.fix AS trusted, coalesce(s.state -> 'trusted', '{}') AS trusted_entries,
           coalesce(s.state -> 'every', '{}') AS every_entries, s.state
    FROM newest e LEFT JOIN newest t ON t.asset = e.asset AND t.trusted LEFT JOIN standing s ON s.asset = e.asset
    WHERE NOT e.trusted AND NOT EXISTS (SELECT FROM checkpoint c WHERE c.asset = e.asset)
      AND NOT EXISTS (SELECT FROM late w WHERE w.asset = e.asset)
)
INSERT INTO checkpoint (asset, time, changes, state, floor, lasting)
SELECT k.asset, k.time,
       greatest((SELECT batch FROM filed), (SELECT coalesce(max(batch), 0) FROM journal),
                (SELECT coalesce(max(greatest(from_batch, to_batch)), 0) FROM geofence_version),
                (SELECT coalesce(max(batch), 0) FROM turning), (SELECT coalesce(max(from_batch), 0) FROM asset_tags)),
       jsonb_build_object(
           'trusted', jsonb_build_object('newest', k.trusted, 'inside', coalesce(inside.fences, '{}'), 'entries', k.trusted_entries),
           'every', jsonb_build_object('newest', k.newest, 'inside', '{}'::jsonb, 'entries', k.every_entries),
           'suspect', k.state -> 'suspect', 'doubted', k.state -> 'doubted'),
       true, true
FROM known k LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(v.geofence::text, (extract(epoch FROM v.enter_time) * 1000)::bigint) AS fences
    FROM visit v JOIN geofence g ON g.id = v.geofence AND g.deleted_at IS NULL
    WHERE v.asset = k.asset AND v.exit_event IS NULL AND NOT (k.trusted_entries || k.every_entries) ? v.geofence::text
) AS inside ON true;
