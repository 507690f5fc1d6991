-- Two branches, so that a filter on scope or ticker leaves one.
-- Which method goes first is asked of the rows of pinball, which methods without intervals lack.
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
    i.demo AS is_demo,
    CASE WHEN m.method IN (headline.method, 'lstm', 'rolling_quantile') THEN m.method = (
        SELECT o.method
        FROM stockbatch.metrics AS o
        WHERE o.instrument_id = m.instrument_id AND o.kind = m.kind
            AND o.window_sessions = m.window_sessions AND o.metric = 'pinball'
            AND o.method IN (headline.method, 'lstm', 'rolling_quantile')
        -- A method that makes no forecasts any more keeps its last row: what is newer counts.
        ORDER BY o.through_session DESC, o.method <> headline.method, o.method <> 'lstm'
        LIMIT 1
    ) ELSE false END AS is_headline,
    CASE
        WHEN m.metric IN ('mae', 'rmse', 'bias') THEN coalesce(i.currency, 'price')
        WHEN m.metric IN ('mape', 'smape') THEN 'percent'
        WHEN m.metric = 'mase' THEN 'errors of the naive forecast'
        WHEN m.metric = 'dm_statistic' THEN 'standard errors'
        WHEN m.metric = 'dm_p_value' THEN 'probability'
        WHEN m.metric ~ '^(directional_accuracy|share_better|coverage_|skill_)' THEN 'share'
        ELSE 'log return'
    END AS unit
FROM stockbatch.metrics AS m
JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
LEFT JOIN stockbatch.sessions AS through
    ON through.calendar = m.calendar AND through.session = m.through_session
-- Metrics of tickers are those of now: one headline is that of all, found once.
CROSS JOIN (
    SELECT method FROM stockbatch.headlines
    WHERE from_session <= (
        SELECT coalesce(max(target_session), 'infinity') FROM stockbatch.forecasts
    )
    ORDER BY from_session DESC, id DESC
    LIMIT 1
) AS headline
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
    false,
    coalesce(m.method = (
        SELECT o.method
        FROM (
            SELECT method FROM stockbatch.headlines
            WHERE from_session <= m.through_session
            ORDER BY from_session DESC, id DESC
            LIMIT 1
        ) AS headline
        JOIN stockbatch.metrics AS o ON o.method IN (headline.method, 'lstm', 'rolling_quantile')
        WHERE o.instrument_id IS NULL AND o.calendar = m.calendar AND o.kind = m.kind
            AND o.window_sessions = m.window_sessions AND o.metric = 'pinball'
            AND o.through_session = m.through_session
        ORDER BY o.method <> headline.method, o.method <> 'lstm'
        LIMIT 1
    ), false),
    CASE
        WHEN m.metric IN ('mae', 'rmse', 'bias') THEN 'price'
        WHEN m.metric IN ('mape', 'smape') THEN 'percent'
        WHEN m.metric = 'mase' THEN 'errors of the naive forecast'
        WHEN m.metric = 'dm_statistic' THEN 'standard errors'
        WHEN m.metric = 'dm_p_value' THEN 'probability'
        WHEN m.metric ~ '^(directional_accuracy|share_better|coverage_|skill_)' THEN 'share'
        ELSE 'log return'
    END
FROM stockbatch.metrics AS m
LEFT JOIN stockbatch.sessions AS through
    ON through.calendar = m.calendar AND through.session = m.through_session
WHERE m.instrument_id IS NULL;

COMMENT ON COLUMN bi.accuracy.unit IS 'of value and baseline: log return, share (0.8 is 80 %), percent, the currency of a price (price, where that is unknown), and so on';
