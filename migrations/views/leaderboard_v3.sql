CREATE OR REPLACE VIEW bi.leaderboard AS
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
    max(m.updated_at) AS updated_at,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_garch') AS skill_vs_garch_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_garch_error') AS skill_vs_garch_error_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_har') AS skill_vs_har_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_har_error') AS skill_vs_har_error_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_lstm') AS skill_vs_lstm_pct,
    100 * max(m.value) FILTER (WHERE m.metric = 'skill_vs_lstm_error') AS skill_vs_lstm_error_pct
FROM stockbatch.metrics AS m
LEFT JOIN stockbatch.sessions AS s ON s.calendar = m.calendar AND s.session = m.through_session
GROUP BY m.through_session, s.close_at, m.calendar, m.method, m.kind, m.window_sessions;
