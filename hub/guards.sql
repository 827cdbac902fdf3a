-- name: breaches
SELECT format('%s: %s', relation, aspect) FROM hub_guard.breach ORDER BY relation::text, aspect

-- name: event_triggers
-- Were they set, and does this server run them? PostgreSQL 17 brought the setting.
SELECT EXISTS (SELECT FROM hub_guard.guarded WHERE aspect LIKE 'event trigger %'),
    coalesce(current_setting('event_triggers', true), 'on') = 'on'
