-- name: bench_postgresql
SELECT current_setting('server_version')

-- name: bench_database_bytes
SELECT pg_database_size(current_database())

-- name: bench_make_copy
-- What a fix is at least, as a row without an index: the limit of storing.
CREATE TABLE bench_copy (asset int, device int, time timestamptz, lon int, lat int, speed int, course smallint, accuracy int)

-- name: bench_drop_copy
DROP TABLE IF EXISTS bench_copy
