CREATE OR REPLACE VIEW bi.data_freshness AS
WITH exchange AS (
    SELECT
        calendar,
        max(session) FILTER (WHERE close_at <= now()) AS session,
        max(close_at) FILTER (WHERE close_at <= now()) AS close_at,
        -- Sessions are stored for a month ahead: where none lies ahead, no run has been for long.
        max(close_at) > now() AS is_known_today
    FROM stockbatch.sessions
    GROUP BY calendar
)
SELECT
    e.session,
    e.close_at AS session_close_at,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    -- A calendar that ended may have had sessions since: nothing is called ready then.
    coalesce(e.is_known_today AND run.status = 'finished', false) AS is_ready,
    bar.session AS bar_session,
    bar.state AS bar_state,
    split_part(source.specification, ':', 1) AS bar_provider,
    -- Counted in sessions, because days would count weekends and holidays.
    CASE WHEN bar.session IS NOT NULL THEN (
        SELECT count(*)::integer FROM stockbatch.sessions AS missed
        WHERE missed.calendar = i.calendar
            AND missed.session > bar.session AND missed.session <= e.session
    ) END AS sessions_behind,
    extract(epoch FROM now() - bar_session.close_at)::double precision / 3600 AS age_hours,
    forecast.session AS forecast_session,
    o.action AS outcome_action,
    o.reason AS outcome_reason,
    greatest(bar.fetched_at, o.recorded_at, run.finished_at, i.active_since) AS updated_at
FROM stockbatch.instruments AS i
LEFT JOIN exchange AS e ON e.calendar = i.calendar
LEFT JOIN LATERAL (
    -- The newest attempt: one that is running again takes back that the session was finished.
    SELECT status, finished_at FROM stockbatch.runs
    WHERE calendar = i.calendar AND session = e.session ORDER BY attempt DESC LIMIT 1
) AS run ON true
LEFT JOIN LATERAL (
    -- A quarantined bar is none until somebody accepts it.
    SELECT session, state, source_id, fetched_at FROM stockbatch.bars
    WHERE instrument_id = i.id AND state <> 'quarantined' ORDER BY session DESC LIMIT 1
) AS bar ON true
LEFT JOIN stockbatch.sources AS source ON source.id = bar.source_id
LEFT JOIN stockbatch.sessions AS bar_session
    ON bar_session.calendar = i.calendar AND bar_session.session = bar.session
LEFT JOIN LATERAL (
    SELECT max(target_session) AS session FROM stockbatch.forecasts WHERE instrument_id = i.id
) AS forecast ON true
LEFT JOIN stockbatch.outcomes AS o
    ON o.instrument_id = i.id AND o.session = e.session AND o.is_final
    -- The last session closed is never too old: that is the word of a clock set ahead.
    AND o.reason <> 'skipped'
WHERE i.active;
