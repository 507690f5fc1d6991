CREATE OR REPLACE VIEW bi.data_freshness AS
WITH exchange AS (
    SELECT
        calendar,
        max(session) FILTER (WHERE close_at <= now()) AS session,
        max(close_at) FILTER (WHERE close_at <= now()) AS close_at,
        -- Sessions are stored for a month ahead: where none lies ahead, no run has been for long.
        max(close_at) > now() AS is_known_today,
        -- The sixth newest: who has had no bar since has left the exchange, and is not missed.
        coalesce(
            (array_agg(session ORDER BY session DESC) FILTER (WHERE close_at <= now()))[6],
            min(session)
        ) AS lately
    FROM stockbatch.sessions
    GROUP BY calendar
),
-- The newest bar of each ticker; a quarantined one is none until somebody accepts it.
newest AS (
    SELECT i.id, i.calendar, i.demo, bar.*
    FROM stockbatch.instruments AS i
    LEFT JOIN LATERAL (
        SELECT session, state, source_id, fetched_at FROM stockbatch.bars
        WHERE instrument_id = i.id AND state <> 'quarantined' ORDER BY session DESC LIMIT 1
    ) AS bar ON true
    WHERE i.active
),
-- How complete the bars of the last session closed are, by the rule that holds a run: of few
-- tickers one bar is enough, of twenty or more 95 %. Demonstration bars never get newer.
coverage AS (
    SELECT
        e.calendar,
        count(*) FILTER (WHERE n.session >= e.session) AS held,
        count(*) FILTER (WHERE n.session >= e.lately) AS due
    FROM exchange AS e JOIN newest AS n ON n.calendar = e.calendar AND NOT n.demo
    GROUP BY e.calendar
)
SELECT
    e.session,
    e.close_at AS session_close_at,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    -- A calendar that ended may have had sessions since: nothing is called ready then. Nor is a run
    -- that finished without bars, as one of old files does.
    coalesce(
        e.is_known_today AND run.status = 'finished'
        AND c.held > 0 AND (c.due < 20 OR c.held >= 0.95 * c.due),
        false
    ) AS is_ready,
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
JOIN newest AS bar ON bar.id = i.id
LEFT JOIN exchange AS e ON e.calendar = i.calendar
LEFT JOIN coverage AS c ON c.calendar = i.calendar
LEFT JOIN LATERAL (
    -- The newest attempt: one that is running again takes back that the session was finished.
    SELECT status, finished_at FROM stockbatch.runs
    WHERE calendar = i.calendar AND session = e.session ORDER BY attempt DESC LIMIT 1
) AS run ON true
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

COMMENT ON COLUMN bi.data_freshness.is_ready IS
    'the data-ready mark, the same for all tickers of an exchange: the run of `session` is finished, 95 % of the bars due are there, and at least one; of fewer than 20 tickers one is enough';
