CREATE OR REPLACE VIEW bi.outcomes AS
SELECT
    o.session,
    s.close_at AS session_close_at,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    o.action,
    o.reason,
    o.message,
    o.try_number AS tries,
    o.seconds AS duration_seconds,
    o.run_id,
    o.recorded_at AS updated_at
FROM stockbatch.outcomes AS o
JOIN stockbatch.instruments AS i ON i.id = o.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = o.session
WHERE o.is_final
    -- One that is due all the same is no outcome: what comes then takes its place.
    AND NOT (o.reason = 'skipped' AND EXISTS (
        SELECT FROM stockbatch.false_skips AS f
        WHERE f.calendar = i.calendar AND f.session = o.session
    ));
