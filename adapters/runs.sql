-- name: alone
SELECT pg_advisory_xact_lock(hashtextextended('hub.job.' || %s, 0))

-- name: retake
-- What was lost is begun again, under its own time.
DELETE FROM job_run
WHERE job = %(job)s AND outcome = 'lost' AND due > %(due)s - %(near)s::interval AND due < %(due)s + %(near)s::interval

-- name: claim
-- Not twice within half a period, whatever the clock did meanwhile; and not for a time before there was a hub.
INSERT INTO job_run (job, due)
SELECT %(job)s, %(due)s FROM installation
WHERE created_at < %(due)s AND NOT EXISTS (
    SELECT FROM job_run WHERE job = %(job)s AND due > %(due)s - %(near)s AND due < %(due)s + %(near)s)
RETURNING id

-- name: finish
UPDATE job_run SET finished_at = clock_timestamp(), outcome = %s, counts = %s, error = %s
WHERE id = %s AND finished_at IS NULL

-- name: lost
-- Whoever ran them has lost the lead, and most likely its life.
UPDATE job_run SET finished_at = clock_timestamp(), outcome = 'lost' WHERE finished_at IS NULL

-- name: last
-- The last run of each job.
SELECT DISTINCT ON (job) job, due, started_at, finished_at, coalesce(outcome, 'running'), counts, error
FROM job_run ORDER BY job, id DESC

-- name: begun
-- For when each job was begun last and not lost.
SELECT job, max(due) FROM job_run WHERE outcome IS DISTINCT FROM 'lost' GROUP BY job

-- name: forget
DELETE FROM job_run old
WHERE due < now() - make_interval(days => %s) AND EXISTS (
    SELECT FROM job_run newer WHERE newer.job = old.job AND newer.id > old.id)
