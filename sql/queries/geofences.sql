-- name: insert_geofences
-- In order; the new numbers come back in that order.
INSERT INTO geofence (name, tags, attributes)
SELECT f.value ->> 'name', ARRAY(SELECT jsonb_array_elements_text(f.value -> 'tags')), f.value -> 'attributes'
FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS f (value, position)
ORDER BY f.position
RETURNING id

-- name: insert_geofence_versions
INSERT INTO geofence_version (geofence, version, quality, geom, radius_m, buffer_m, options, from_batch)
SELECT f.id, f.version, f.quality, ST_GeomFromWKB(f.geom, 4326), f.radius_m, f.buffer_m, o.value, $8
FROM unnest($1::int[], $2::int[], $3::text[], $4::bytea[], $5::float8[], $6::float8[])
     WITH ORDINALITY AS f (id, version, quality, geom, radius_m, buffer_m, position)
JOIN jsonb_array_elements($7::jsonb) WITH ORDINALITY AS o (value, position) ON o.position = f.position

-- name: earlier_versions
-- Of the geofences that are there: the versions that are no longer in force.
SELECT g.id, v.version, g.name, g.tags, g.attributes, v.quality, ST_AsBinary(v.geom) AS geom, v.radius_m, v.buffer_m, v.options,
       v.from_batch, v.to_batch, (SELECT f.from_batch FROM geofence_version f WHERE f.geofence = g.id AND f.version = 1) AS since_batch
FROM geofence g JOIN geofence_version v ON v.geofence = g.id AND v.version < g.version
WHERE g.deleted_at IS NULL AND v.geom IS NOT NULL
ORDER BY g.id, v.version

-- name: update_geofence
UPDATE geofence SET version = $2, name = $3, tags = $4, attributes = $5, updated_at = now() WHERE id = $1

-- name: close_geofence_version
UPDATE geofence_version SET to_batch = $3 WHERE geofence = $1 AND version = $2

-- name: delete_geofence
UPDATE geofence SET deleted_at = now() WHERE id = $1

-- name: record_turnings
-- The places of a change of geofence $1 that judges from batch $2 on: right after these fixes.
INSERT INTO turning (asset, geofence, batch, time, lon, lat, alt, speed, course, accuracy, stored)
SELECT t.asset, $1, $2, 'epoch'::timestamptz + t.time_ms * interval '1 ms', t.lon, t.lat, t.alt, t.speed, t.course, t.accuracy, t.batch
FROM jsonb_to_recordset($3::jsonb) AS t (asset int, time_ms bigint, lon int, lat int, alt int, speed int, course int, accuracy int,
                                         batch bigint)
ON CONFLICT DO NOTHING
