-- name: matched
-- Which of the items (first tag, other tags, types; counted from 1) match an event after a position.
SELECT i.n
FROM unnest(%(tag)s::uuid[], %(others)s::text[], %(types)s::text[], %(after)s::bigint[])
    WITH ORDINALITY AS i (tag, others, types, after, n)
WHERE EXISTS (
    SELECT FROM tag t
    WHERE t.log = %(log)s AND t.tag = i.tag AND t.position > i.after
      AND (i.types IS NULL OR t.type = ANY (i.types::smallint[]))
      AND NOT EXISTS (
          SELECT FROM unnest(i.others::uuid[]) AS o (tag)
          WHERE NOT EXISTS (SELECT FROM tag u WHERE u.log = t.log AND u.tag = o.tag AND u.position = t.position))
      AND NOT EXISTS (
          SELECT FROM unnest(%(from)s::bigint[], %(to)s::bigint[]) AS own (first, stop)
          WHERE t.position >= own.first AND t.position < own.stop))

-- name: matched_untagged
SELECT EXISTS (
    SELECT FROM event WHERE log = %s AND position > %s AND (%s::smallint[] IS NULL OR type = ANY (%s::smallint[]))
      AND NOT EXISTS (
          SELECT FROM unnest(%s::bigint[], %s::bigint[]) AS own (first, stop)
          WHERE position >= own.first AND position < own.stop))
