CREATE VIEW bi.risk_backtests AS
SELECT
    m.through_session AS session,
    s.close_at AS session_close_at,
    u.kind AS subject_kind,
    coalesce(i.ticker, u.name) AS subject,
    i.ticker,
    u.calendar,
    m.kind,
    m.window_sessions,
    100 * m.level AS level_pct,
    m.sessions,
    m.breaches,
    100.0::float8 * m.breaches / m.sessions AS breach_pct,
    m.kupiec_p,
    m.christoffersen_p,
    m.z2,
    100 * m.coverage_80 AS coverage_80_pct,
    100 * m.coverage_95 AS coverage_95_pct,
    m.pinball,
    100 * m.skill AS skill_vs_unscaled_pct,
    coalesce(i.demo, false) AS is_demo,
    m.updated_at
FROM stockbatch.risk_metrics AS m
JOIN stockbatch.risk_subjects AS u ON u.id = m.subject_id
LEFT JOIN stockbatch.instruments AS i ON i.id = u.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = u.calendar AND s.session = m.through_session;

COMMENT ON VIEW bi.risk_backtests IS 'One row per ticker, group or portfolio, kind, window and level: how well its risk was told, as of the last run that scored any of it.';
COMMENT ON COLUMN bi.risk_backtests.session IS 'last session of the window';
COMMENT ON COLUMN bi.risk_backtests.session_close_at IS 'when that session closed';
COMMENT ON COLUMN bi.risk_backtests.subject_kind IS 'ticker, portfolio, or the kind of a group: exchange, sector, industry, tag, watchlist';
COMMENT ON COLUMN bi.risk_backtests.subject IS 'ticker, or name of the portfolio or group within its kind';
COMMENT ON COLUMN bi.risk_backtests.ticker IS 'the ticker; NULL: a group or portfolio';
COMMENT ON COLUMN bi.risk_backtests.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.risk_backtests.kind IS 'live, late or backtest; never mixed';
COMMENT ON COLUMN bi.risk_backtests.window_sessions IS 'target sessions looked back at: 20, 60 or 250';
COMMENT ON COLUMN bi.risk_backtests.level_pct IS '1, 2.5 or 5: percent of sessions in which a breach is expected';
COMMENT ON COLUMN bi.risk_backtests.sessions IS 'sessions of the window that are scored';
COMMENT ON COLUMN bi.risk_backtests.breaches IS 'sessions whose loss was larger than the value at risk';
COMMENT ON COLUMN bi.risk_backtests.breach_pct IS 'breaches in percent of the sessions: level_pct where the value at risk is right';
COMMENT ON COLUMN bi.risk_backtests.kupiec_p IS 'p value of as many breaches, were the level right (Kupiec 1995); small: the level is wrong';
COMMENT ON COLUMN bi.risk_backtests.christoffersen_p IS 'p value of breaches that follow each other so, were they independent (Christoffersen 1998); small: they come in clusters; NULL: fewer than two sessions in a row';
COMMENT ON COLUMN bi.risk_backtests.z2 IS 'Z2 of Acerbi and Székely (2014) of value at risk and expected shortfall together: 0 where both are right, below where losses were larger; at 2.5 % and 250 sessions -0.7 is found by chance once in twenty';
COMMENT ON COLUMN bi.risk_backtests.coverage_80_pct IS 'percent of returns inside the 80 % interval; the same for every level';
COMMENT ON COLUMN bi.risk_backtests.coverage_95_pct IS 'percent of returns inside the 95 % interval; the same for every level';
COMMENT ON COLUMN bi.risk_backtests.pinball IS 'mean pinball loss of the quantiles of the simple return from 2.5 to 97.5 %; the same for every level';
COMMENT ON COLUMN bi.risk_backtests.skill_vs_unscaled_pct IS 'percent by which that is below the one of the same simulation without scales; the same for every level';
COMMENT ON COLUMN bi.risk_backtests.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.risk_backtests.updated_at IS 'when the row was written';
