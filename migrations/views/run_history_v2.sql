CREATE OR REPLACE VIEW bi.run_history AS
SELECT
    r.session,
    s.close_at AS session_close_at,
    r.id AS run_id,
    r.calendar,
    r.attempt,
    r.trigger,
    r.status,
    r.started_at,
    r.finished_at,
    extract(epoch FROM r.finished_at - r.started_at)::double precision AS duration_seconds,
    r.instruments,
    r.trained,
    r.reused,
    r.base,
    r.naive,
    r.none,
    r.message,
    r.code_version,
    coalesce(r.finished_at, r.heartbeat_at) AS updated_at
FROM stockbatch.runs AS r
LEFT JOIN stockbatch.sessions AS s ON s.calendar = r.calendar AND s.session = r.session
-- One that is due all the same was no run: what comes then takes its place.
WHERE NOT (r.status = 'skipped' AND EXISTS (
    SELECT FROM stockbatch.false_skips AS f
    WHERE f.calendar = r.calendar AND f.session = r.session
));
