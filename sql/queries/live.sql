-- name: events_after
SELECT * FROM event WHERE id > $1 ORDER BY id LIMIT $2

-- name: newest_events
SELECT * FROM (SELECT * FROM event ORDER BY id DESC LIMIT $1) AS e ORDER BY id

-- name: alive
SELECT 1
