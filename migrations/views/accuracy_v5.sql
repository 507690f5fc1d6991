-- Two branches, so that a filter on scope or ticker leaves one. Metrics of a ticker stand in columns.
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
    v.metric,
    v.n,
    v.value,
    v.baseline,
    100 * v.skill AS skill_pct,
    m.updated_at,
    i.demo AS is_demo,
    CASE WHEN m.method IN (headline.method, 'lstm', 'rolling_quantile') THEN m.method = (
        SELECT o.method
        FROM stockbatch.ticker_metrics AS o
        WHERE o.instrument_id = m.instrument_id AND o.kind = m.kind
            AND o.window_sessions = m.window_sessions AND o.n_pinball > 0
            AND o.method IN (headline.method, 'lstm', 'rolling_quantile')
        -- A method that makes no forecasts any more keeps its last row: what is newer counts.
        ORDER BY o.through_session DESC, o.method <> headline.method, o.method <> 'lstm'
        LIMIT 1
    ) ELSE false END AS is_headline,
    CASE
        WHEN v.metric IN ('mae', 'rmse', 'bias') THEN coalesce(i.currency, 'price')
        WHEN v.metric IN ('mape', 'smape') THEN 'percent'
        WHEN v.metric = 'mase' THEN 'errors of the naive forecast'
        WHEN v.metric = 'dm_statistic' THEN 'standard errors'
        WHEN v.metric = 'dm_p_value' THEN 'probability'
        WHEN v.metric ~ '^(directional_accuracy|share_better|coverage_|skill_)' THEN 'share'
        ELSE 'log return'
    END AS unit
FROM stockbatch.ticker_metrics AS m
CROSS JOIN LATERAL (
    VALUES
        ('mae', m.n, m.mae, m.mae_baseline, m.mae_skill),
        ('rmse', m.n, m.rmse, m.rmse_baseline, m.rmse_skill),
        ('bias', m.n, m.bias, NULL, NULL),
        ('mape', m.n, m.mape, m.mape_baseline, m.mape_skill),
        ('smape', m.n, m.smape, m.smape_baseline, m.smape_skill),
        ('mase', m.n, m.mase, m.mase_baseline, m.mase_skill),
        ('mae_return', m.n, m.mae_return, m.mae_return_baseline, m.mae_return_skill),
        ('rmse_return', m.n, m.rmse_return, m.rmse_return_baseline, m.rmse_return_skill),
        ('bias_return', m.n, m.bias_return, NULL, NULL),
        ('directional_accuracy', m.n_direction, m.directional_accuracy, NULL, NULL),
        ('pinball', m.n_pinball, m.pinball, m.pinball_baseline, m.pinball_skill),
        ('coverage_50', m.n_50, m.coverage_50, NULL, NULL),
        ('coverage_80', m.n_80, m.coverage_80, NULL, NULL),
        ('coverage_90', m.n_90, m.coverage_90, NULL, NULL),
        ('coverage_95', m.n_95, m.coverage_95, NULL, NULL),
        ('coverage_98', m.n_98, m.coverage_98, NULL, NULL),
        ('width_80', m.n_80, m.width_80, NULL, NULL),
        ('width_95', m.n_95, m.width_95, NULL, NULL),
        ('winkler_80', m.n_80, m.winkler_80, m.winkler_80_baseline, m.winkler_80_skill),
        ('winkler_95', m.n_95, m.winkler_95, m.winkler_95_baseline, m.winkler_95_skill)
) AS v (metric, n, value, baseline, skill)
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
WHERE v.n > 0
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
        WHERE o.calendar = m.calendar AND o.kind = m.kind
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
    ON through.calendar = m.calendar AND through.session = m.through_session;
