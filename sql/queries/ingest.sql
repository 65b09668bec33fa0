-- name: waiting_commands
-- What a device that just connected has not answered yet, oldest first.
UPDATE command SET sent_at = coalesce(sent_at, now()) WHERE device = $1 AND answered_at IS NULL
RETURNING id, name, args

-- name: answer_command
UPDATE command SET answered_at = now(), ok = $3, value = $4 WHERE id = $2 AND device = $1 AND answered_at IS NULL

-- name: set_device_status
UPDATE device SET status = $2, status_at = 'epoch'::timestamptz + $3 * interval '1 ms' WHERE id = $1
