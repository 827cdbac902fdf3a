-- name: key
SELECT k.principal, k.role, p.source, k.secret_hash, k.expires_at
FROM api_key k JOIN principal p ON p.id = k.principal
WHERE k.id = %s AND k.revoked_at IS NULL

-- name: keys
SELECT k.id, k.role, k.principal::text AS principal, p.source, p.person, k.made_at, k.expires_at, k.revoked_at
FROM api_key k JOIN principal p ON p.id = k.principal
ORDER BY k.made_at DESC, k.id

-- name: holder
-- Locked, so that a revocation is either seen or comes after all that is made of the key.
SELECT k.principal, k.role, p.source, p.person, k.revoked_at IS NULL AND k.expires_at > now()
FROM api_key k JOIN principal p ON p.id = k.principal
WHERE k.id = %s
FOR SHARE OF k

-- name: any
SELECT 1 FROM api_key LIMIT 1

-- name: one_at_a_time
SELECT pg_advisory_xact_lock(hashtextextended('hub.first_keys', 0))

-- name: add_principal
INSERT INTO principal (id, source, person) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING

-- name: principal
SELECT id FROM principal WHERE source = %s OR person = %s

-- name: lock_principal
SELECT pg_advisory_xact_lock(hashtextextended('hub.principal ' || %s, 0))

-- name: roles_held
SELECT DISTINCT role FROM api_key WHERE principal = %s AND revoked_at IS NULL AND expires_at > now()

-- name: add_key
INSERT INTO api_key (id, principal, role, secret_hash, made_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s)

-- name: revoke
UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s
