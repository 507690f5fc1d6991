CREATE VIEW bi.data_freshness AS
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
WHERE i.active;

COMMENT ON VIEW bi.data_freshness IS
    'One row per active ticker: how old its data are, and whether the last closed session of its exchange is finished (the data-ready mark).';
COMMENT ON COLUMN bi.data_freshness.session IS 'last closed session of the exchange';
COMMENT ON COLUMN bi.data_freshness.session_close_at IS 'instant it closed';
COMMENT ON COLUMN bi.data_freshness.ticker IS 'ticker';
COMMENT ON COLUMN bi.data_freshness.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.data_freshness.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.data_freshness.is_demo IS 'demonstration data: it is not kept up to date';
COMMENT ON COLUMN bi.data_freshness.is_ready IS 'the data-ready mark, the same for all tickers of an exchange: the run of `session` is finished, all there is for it is in place';
COMMENT ON COLUMN bi.data_freshness.bar_session IS 'session of the newest usable bar; NULL: there is none';
COMMENT ON COLUMN bi.data_freshness.bar_state IS 'final, or provisional: it may still change';
COMMENT ON COLUMN bi.data_freshness.bar_provider IS 'provider that delivered that bar';
COMMENT ON COLUMN bi.data_freshness.sessions_behind IS 'closed sessions of the exchange after bar_session; 0: up to date; NULL: no bar at all';
COMMENT ON COLUMN bi.data_freshness.age_hours IS 'hours since bar_session closed, nights and holidays included';
COMMENT ON COLUMN bi.data_freshness.forecast_session IS 'newest session that was forecast';
COMMENT ON COLUMN bi.data_freshness.outcome_action IS 'what the job did for `session`; NULL: nothing yet';
COMMENT ON COLUMN bi.data_freshness.outcome_reason IS 'why';
COMMENT ON COLUMN bi.data_freshness.updated_at IS 'last change of the data behind the row; ages move on without one';
