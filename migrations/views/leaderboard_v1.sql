CREATE VIEW bi.leaderboard AS
SELECT
    m.through_session AS session,
    s.close_at AS session_close_at,
    m.calendar,
    m.method,
    m.kind,
    m.window_sessions,
    -- One row per metric becomes a column: each aggregate picks the only value there is.
    max(m.n) FILTER (WHERE m.metric = 'mae_return') AS n,
    max(m.value) FILTER (WHERE m.metric = 'pinball') AS pinball,
    -- Shares and skills are told in percent; losses stay as they are.
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_rolling_quantile')
        AS skill_vs_rolling_quantile_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_rolling_quantile_error')
        AS skill_vs_rolling_quantile_error_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_ewma') AS skill_vs_ewma_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_ewma_error') AS skill_vs_ewma_error_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'share_better') AS share_better_pct,
    max(m.value) FILTER (WHERE m.metric = 'dm_statistic') AS dm_statistic,
    max(m.value) FILTER (WHERE m.metric = 'dm_p_value') AS dm_p_value,
    max(m.value) FILTER (WHERE m.metric = 'mae_return') AS mae_return,
    100 * max(m.skill) FILTER (WHERE m.metric = 'mae_return') AS mae_return_skill_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'coverage_80') AS coverage_80_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'coverage_95') AS coverage_95_pct,
    max(m.updated_at) AS updated_at
FROM stockbatch.metrics AS m
LEFT JOIN stockbatch.sessions AS s ON s.calendar = m.calendar AND s.session = m.through_session
-- Rows of all tickers of a calendar together.
WHERE m.instrument_id IS NULL
GROUP BY m.through_session, s.close_at, m.calendar, m.method, m.kind, m.window_sessions;

COMMENT ON VIEW bi.leaderboard IS
    'One row per calendar, method, kind, window and session: how all tickers of the calendar (demonstration data left out) were forecast by each method. Losses are of log returns; each comparison is over the forecasts that both methods made.';
COMMENT ON COLUMN bi.leaderboard.session IS 'last target session of the window';
COMMENT ON COLUMN bi.leaderboard.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.leaderboard.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.leaderboard.method IS 'lstm, or the baseline that made the forecasts';
COMMENT ON COLUMN bi.leaderboard.kind IS 'live, late or backtest: never mixed';
COMMENT ON COLUMN bi.leaderboard.window_sessions IS 'target sessions looked back at';
COMMENT ON COLUMN bi.leaderboard.n IS 'scored forecasts of the method';
COMMENT ON COLUMN bi.leaderboard.pinball IS 'mean pinball loss of the quantiles; lower is better; NULL: points only';
COMMENT ON COLUMN bi.leaderboard.skill_vs_rolling_quantile_pct IS 'percent by which the pinball loss is below that of the rolling quantile';
COMMENT ON COLUMN bi.leaderboard.skill_vs_rolling_quantile_error_pct IS 'its standard error, clustered by session';
COMMENT ON COLUMN bi.leaderboard.skill_vs_ewma_pct IS 'percent by which the pinball loss is below that of the EWMA';
COMMENT ON COLUMN bi.leaderboard.skill_vs_ewma_error_pct IS 'its standard error, clustered by session';
COMMENT ON COLUMN bi.leaderboard.share_better_pct IS 'percent of the tickers with a lower pinball loss than the rolling quantile; NULL for itself';
COMMENT ON COLUMN bi.leaderboard.dm_statistic IS 'Diebold-Mariano statistic of the sessions'' mean pinball losses against the LSTM; above 0: the LSTM is better; NULL for itself';
COMMENT ON COLUMN bi.leaderboard.dm_p_value IS 'probability of a statistic as far from 0 were both equally good';
COMMENT ON COLUMN bi.leaderboard.mae_return IS 'mean absolute error of the point forecast';
COMMENT ON COLUMN bi.leaderboard.mae_return_skill_pct IS 'percent by which it is below that of the naive forecast';
COMMENT ON COLUMN bi.leaderboard.coverage_80_pct IS 'percent of actual returns inside the 80 % interval';
COMMENT ON COLUMN bi.leaderboard.coverage_95_pct IS 'percent of actual returns inside the 95 % interval';
COMMENT ON COLUMN bi.leaderboard.updated_at IS 'last change of the row';
