-- The record of applied migrations.

-- name: lock_migrations
SELECT pg_advisory_lock($1)

-- name: unlock_migrations
SELECT pg_advisory_unlock($1)

-- name: create_schema_migration
CREATE TABLE IF NOT EXISTS schema_migration (
    version integer PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: schema_migration_exists
SELECT to_regclass('schema_migration') IS NOT NULL

-- name: applied_migrations
SELECT version, name, sha256
FROM schema_migration
ORDER BY version

-- name: record_migration
INSERT INTO schema_migration (version, name, sha256)
VALUES ($1, $2, $3)
