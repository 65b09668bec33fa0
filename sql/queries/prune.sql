-- Deleted assets, of which nothing is to remain.

-- name: deleted_assets
-- Those of which something is stored.
SELECT a.id, EXISTS (SELECT FROM journal j WHERE j.bucket = (a.id & 15)::smallint AND a.id = ANY (j.asset)) AS unfiled
FROM asset a
WHERE a.deleted_at IS NOT NULL
  AND (EXISTS (SELECT FROM latest l WHERE l.asset = a.id) OR EXISTS (SELECT FROM piece p WHERE p.asset = a.id)
       OR EXISTS (SELECT FROM sealed s WHERE s.asset = a.id)
       OR EXISTS (SELECT FROM journal j WHERE j.bucket = (a.id & 15)::smallint AND a.id = ANY (j.asset)))
ORDER BY a.id

-- name: prune_asset
WITH pieces AS (
    DELETE FROM piece WHERE asset = $1 RETURNING n
), rows AS (
    DELETE FROM sealed WHERE asset = $1 RETURNING n
), doubts AS (
    DELETE FROM doubt WHERE asset = $1
), checkpoints AS (
    DELETE FROM checkpoint WHERE asset = $1
), turnings AS (
    DELETE FROM turning WHERE asset = $1
), states AS (
    DELETE FROM standing WHERE asset = $1
), marks AS (
    DELETE FROM late WHERE asset = $1
), newest AS (
    DELETE FROM latest WHERE asset = $1
)
SELECT coalesce((SELECT sum(n) FROM pieces), 0)::bigint + coalesce((SELECT sum(n) FROM rows), 0)::bigint AS fixes
