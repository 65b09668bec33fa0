-- The feed as callers read it: after an id, up to a horizon, filtered. One query for each index that can carry the filter.

-- name: event_by_id
SELECT * FROM event WHERE id = $1

-- name: events_of_asset
SELECT * FROM event
WHERE asset = $7 AND id > $1 AND ($2::text[] IS NULL OR type = ANY ($2)) AND ($3::int IS NULL OR geofence = $3)
  AND ($4::timestamptz IS NULL OR fix_time >= $4) AND ($5::timestamptz IS NULL OR fix_time <= $5)
ORDER BY id LIMIT $6

-- name: events_of_geofence
SELECT * FROM event
WHERE geofence = $3 AND id > $1 AND ($2::text[] IS NULL OR type = ANY ($2))
  AND ($4::timestamptz IS NULL OR fix_time >= $4) AND ($5::timestamptz IS NULL OR fix_time <= $5)
ORDER BY id LIMIT $6

-- name: events_of_all
SELECT * FROM event
WHERE id > $1 AND ($2::text[] IS NULL OR type = ANY ($2))
  AND ($4::timestamptz IS NULL OR fix_time >= $4) AND ($5::timestamptz IS NULL OR fix_time <= $5) AND $3::int IS NULL
ORDER BY id LIMIT $6
