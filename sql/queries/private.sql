-- The private cluster's own database.

-- name: create_database
CREATE DATABASE tracker

-- name: postgis_versions
-- What this database has, and what the machine's packages offer.
SELECT installed_version, default_version
FROM pg_available_extensions
WHERE name = 'postgis'

-- name: create_postgis
CREATE EXTENSION postgis

-- name: update_postgis
-- The packages were upgraded since.
ALTER EXTENSION postgis UPDATE
