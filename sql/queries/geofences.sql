-- name: insert_geofences
-- In order; the new numbers come back in that order.
INSERT INTO geofence (name, tags, attributes)
SELECT f.value ->> 'name', ARRAY(SELECT jsonb_array_elements_text(f.value -> 'tags')), f.value -> 'attributes'
FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS f (value, position)
ORDER BY f.position
RETURNING id

-- name: insert_geofence_versions
INSERT INTO geofence_version (geofence, version, quality, geom, radius_m, from_batch)
SELECT f.id, f.version, f.quality, ST_GeomFromWKB(f.geom, 4326), f.radius_m, $6
FROM unnest($1::int[], $2::int[], $3::text[], $4::bytea[], $5::float8[]) AS f (id, version, quality, geom, radius_m)

-- name: update_geofence
UPDATE geofence SET version = $2, name = $3, tags = $4, attributes = $5, updated_at = now() WHERE id = $1

-- name: close_geofence_version
UPDATE geofence_version SET to_batch = $3 WHERE geofence = $1 AND version = $2

-- name: delete_geofence
UPDATE geofence SET deleted_at = now() WHERE id = $1
