CREATE VIEW bi.group_accuracy AS
SELECT
    m.through_session AS session,
    s.close_at AS session_close_at,
    m.group_kind,
    m.group_name,
    m.calendar,
    m.method,
    m.kind,
    m.window_sessions,
    m.tickers,
    m.n,
    m.pinball,
    -- Shares and skills are told in percent; losses stay as they are.
    100 * m.skill AS skill_vs_rolling_quantile_pct,
    100 * m.skill_error AS skill_vs_rolling_quantile_error_pct,
    m.mae_return,
    100 * m.coverage_80 AS coverage_80_pct,
    100 * m.coverage_95 AS coverage_95_pct,
    m.updated_at
FROM stockbatch.group_metrics AS m
LEFT JOIN stockbatch.sessions AS s ON s.calendar = m.calendar AND s.session = m.through_session
-- A group that was dissolved since the last run is shown no more.
WHERE EXISTS (
    SELECT FROM bi.groups AS g
    WHERE g.group_kind = m.group_kind AND g.group_name = m.group_name
);

COMMENT ON VIEW bi.group_accuracy IS 'One row per group, exchange calendar, method, kind and window: its tickers together, demonstration aside, as of the last run. Exchanges as a whole: bi.leaderboard.';
COMMENT ON COLUMN bi.group_accuracy.session IS 'last session of the window';
COMMENT ON COLUMN bi.group_accuracy.session_close_at IS 'when that session closed';
COMMENT ON COLUMN bi.group_accuracy.group_kind IS 'sector, industry, tag or watchlist (a named one)';
COMMENT ON COLUMN bi.group_accuracy.group_name IS 'name of the group within its kind';
COMMENT ON COLUMN bi.group_accuracy.calendar IS 'exchange calendar of the tickers: a group of several has a row for each';
COMMENT ON COLUMN bi.group_accuracy.method IS 'method that made the forecasts';
COMMENT ON COLUMN bi.group_accuracy.kind IS 'live, late or backtest; never mixed';
COMMENT ON COLUMN bi.group_accuracy.window_sessions IS 'target sessions looked back at: 20, 60 or 250';
COMMENT ON COLUMN bi.group_accuracy.tickers IS 'tickers of the group that were forecast';
COMMENT ON COLUMN bi.group_accuracy.n IS 'scored forecasts';
COMMENT ON COLUMN bi.group_accuracy.pinball IS 'mean pinball loss of the quantiles of the log return from 2.5 to 97.5 %; lower is better; NULL: the method states points only';
COMMENT ON COLUMN bi.group_accuracy.skill_vs_rolling_quantile_pct IS 'percent by which the pinball loss is below that of the rolling quantile, over what both forecast; NULL for what it was not compared with';
COMMENT ON COLUMN bi.group_accuracy.skill_vs_rolling_quantile_error_pct IS 'its standard error, clustered by session: tickers of one session count as one observation, because they move together';
COMMENT ON COLUMN bi.group_accuracy.mae_return IS 'mean absolute error of the log return';
COMMENT ON COLUMN bi.group_accuracy.coverage_80_pct IS 'percent of actual returns inside the 80 % interval';
COMMENT ON COLUMN bi.group_accuracy.coverage_95_pct IS 'percent of actual returns inside the 95 % interval';
COMMENT ON COLUMN bi.group_accuracy.updated_at IS 'when the row was written';
