-- Two branches, so that a filter on scope or ticker leaves one.
CREATE OR REPLACE VIEW bi.accuracy AS
SELECT
    m.through_session AS session,
    through.close_at AS session_close_at,
    'ticker' AS scope,
    i.ticker,
    m.calendar,
    i.currency,
    m.method,
    m.kind,
    m.window_sessions,
    m.metric,
    m.n,
    m.value,
    m.baseline,
    100 * m.skill AS skill_pct,
    m.updated_at,
    i.demo AS is_demo
FROM stockbatch.metrics AS m
JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
LEFT JOIN stockbatch.sessions AS through
    ON through.calendar = m.calendar AND through.session = m.through_session
WHERE m.instrument_id IS NOT NULL
UNION ALL
SELECT
    m.through_session,
    through.close_at,
    'calendar',
    NULL,
    m.calendar,
    NULL,
    m.method,
    m.kind,
    m.window_sessions,
    m.metric,
    m.n,
    m.value,
    m.baseline,
    100 * m.skill,
    m.updated_at,
    false
FROM stockbatch.metrics AS m
LEFT JOIN stockbatch.sessions AS through
    ON through.calendar = m.calendar AND through.session = m.through_session
WHERE m.instrument_id IS NULL;

COMMENT ON COLUMN bi.accuracy.is_demo IS 'demonstration data';
