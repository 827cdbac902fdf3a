-- name: lead
SELECT pg_try_advisory_lock(hashtextextended('hub.projector', 0))

-- name: give_up
SELECT pg_advisory_unlock(hashtextextended('hub.projector', 0))
