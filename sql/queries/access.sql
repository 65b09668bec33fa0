-- Tokens, accounts, sessions, sign-in links, and the answers kept for idempotent writes.

-- name: token_by_hash
SELECT t.id, t.kind, t.name, t.device, t.role, t.account, t.expires_at
FROM token t
WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())

-- name: add_token
INSERT INTO token (kind, name, hash, role) VALUES ($1, $2, $3, $4) RETURNING id, created_at

-- name: list_tokens
SELECT id, kind, name, device, role, created_at, expires_at
FROM token
WHERE revoked_at IS NULL AND id > $1 AND ($3::text IS NULL OR kind = $3) AND ($4::int IS NULL OR device = $4)
ORDER BY id LIMIT $2

-- name: revoke_token
-- The sessions that were made from the token end with it.
WITH revoked AS (
    UPDATE token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id
), ended AS (
    DELETE FROM session WHERE token IN (SELECT id FROM revoked) RETURNING hash
)
SELECT id, ARRAY(SELECT hash FROM ended) AS sessions FROM revoked

-- name: has_admin
SELECT EXISTS (SELECT FROM token WHERE kind = 'api' AND role = 'admin' AND revoked_at IS NULL)
    OR EXISTS (SELECT FROM account WHERE role = 'admin' AND deleted_at IS NULL) AS known

-- name: session_by_hash
-- An account's session has the role that the account has now.
SELECT s.hash, s.account, s.token, s.expires_at, coalesce(a.name, s.name) AS name, coalesce(a.role, s.role) AS role
FROM session s LEFT JOIN account a ON a.id = s.account LEFT JOIN token t ON t.id = s.token
WHERE s.hash = ANY ($1::bytea[]) AND s.expires_at > now() AND a.deleted_at IS NULL AND t.revoked_at IS NULL
  AND (t.expires_at IS NULL OR t.expires_at > now())

-- name: add_session
INSERT INTO session (hash, account, name, role, token, expires_at) VALUES ($1, $2, $3, $4, $5, $6)

-- name: end_session
DELETE FROM session WHERE hash = ANY ($1::bytea[]) RETURNING hash

-- name: add_sign_in_code
INSERT INTO sign_in_code (hash, account, name, role, expires_at) VALUES ($1, $2, $3, $4, $5)

-- name: use_sign_in_code
UPDATE sign_in_code c SET used_at = now()
WHERE c.hash = $1 AND c.used_at IS NULL AND c.expires_at > now()
  AND NOT EXISTS (SELECT FROM account a WHERE a.id = c.account AND a.deleted_at IS NOT NULL)
RETURNING c.account, c.name, c.role

-- name: prune_access
WITH codes AS (
    DELETE FROM sign_in_code WHERE expires_at < now() - interval '1 day'
), answers AS (
    DELETE FROM idempotency WHERE created_at < now() - interval '1 day'
)
DELETE FROM session WHERE expires_at < now()

-- name: add_account
INSERT INTO account (name, role) VALUES ($1, $2) RETURNING id, name, role, created_at

-- name: list_accounts
SELECT id, name, role, created_at FROM account WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2

-- name: account_by_id
SELECT id, name, role, created_at FROM account WHERE id = $1 AND deleted_at IS NULL

-- name: change_account
UPDATE account SET name = coalesce($2, name), role = coalesce($3, role)
WHERE id = $1 AND deleted_at IS NULL
RETURNING id, name, role, created_at

-- name: delete_account
-- What was signed in by the account, and the links that still could, end with it.
WITH deleted AS (
    UPDATE account SET deleted_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING id
), revoked AS (
    UPDATE token SET revoked_at = now() WHERE account IN (SELECT id FROM deleted) AND revoked_at IS NULL RETURNING id
), ended AS (
    DELETE FROM session WHERE account IN (SELECT id FROM deleted) RETURNING hash
), unusable AS (
    DELETE FROM sign_in_code WHERE account IN (SELECT id FROM deleted)
)
SELECT id, ARRAY(SELECT id FROM revoked) AS tokens, ARRAY(SELECT hash FROM ended) AS sessions FROM deleted

-- name: claim_idempotency_key
INSERT INTO idempotency (caller, key, request) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING key

-- name: idempotent_answer
SELECT request, status, body FROM idempotency WHERE caller = $1 AND key = $2

-- name: keep_idempotent_answer
UPDATE idempotency SET status = $3, body = $4 WHERE caller = $1 AND key = $2

-- name: release_idempotency_key
DELETE FROM idempotency WHERE caller = $1 AND key = $2 AND status IS NULL
