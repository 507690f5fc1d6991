-- Flat, so that any filter reaches the indexes. Losses are positive.
CREATE VIEW bi.risk AS
SELECT
    f.target_session AS session,
    target.close_at AS session_close_at,
    u.kind AS subject_kind,
    coalesce(i.ticker, u.name) AS subject,
    i.ticker,
    u.calendar,
    coalesce(i.currency, (
        SELECT currency FROM stockbatch.instruments
        WHERE u.kind = 'portfolio' AND id = f.members[1]
    )) AS currency,
    f.kind,
    l.level_pct,
    f.origin_session,
    f.method,
    f.simulations,
    coalesce(cardinality(f.members), 1) AS members,
    f.exposure,
    -100 * f.quantiles[l.place] AS value_at_risk_pct,
    -100 * f.shortfalls[l.place] AS expected_shortfall_pct,
    -f.exposure * f.quantiles[l.place] AS value_at_risk,
    -f.exposure * f.shortfalls[l.place] AS expected_shortfall,
    -- No score yet, because the session has not been held, or a bar has not come.
    coalesce(s.status, 'open') AS score_status,
    100 * s.actual_return AS actual_return_pct,
    f.exposure * s.actual_return AS actual_result,
    CASE l.place WHEN 1 THEN s.breach_01 WHEN 2 THEN s.breach_025 ELSE s.breach_05 END AS is_breach,
    f.issued_at,
    f.recorded_at,
    f.deadline_at,
    coalesce(i.demo, false) AS is_demo,
    greatest(f.recorded_at, s.scored_at) AS updated_at
FROM stockbatch.risk_forecasts AS f
JOIN stockbatch.risk_subjects AS u ON u.id = f.subject_id
CROSS JOIN (VALUES (1, 1.0::float8), (2, 2.5), (3, 5.0)) AS l (place, level_pct)
LEFT JOIN stockbatch.instruments AS i ON i.id = u.instrument_id
LEFT JOIN stockbatch.sessions AS target
    ON target.calendar = u.calendar AND target.session = f.target_session
LEFT JOIN stockbatch.risk_scores AS s ON s.risk_forecast_id = f.id
WHERE f.quantiles IS NOT NULL
    -- Of several of one kind the newest.
    AND NOT EXISTS (
        SELECT FROM stockbatch.risk_forecasts AS newer
        WHERE newer.subject_id = f.subject_id
            AND newer.target_session = f.target_session
            AND newer.kind = f.kind
            AND newer.quantiles IS NOT NULL
            AND (newer.recorded_at, newer.id) > (f.recorded_at, f.id)
    );

COMMENT ON VIEW bi.risk IS 'One row per ticker, group or portfolio, session, kind and level: how much it may lose, what came, and whether that was more.';
COMMENT ON COLUMN bi.risk.session IS 'session the forecast is about';
COMMENT ON COLUMN bi.risk.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.risk.subject_kind IS 'ticker, portfolio, or the kind of a group: exchange, sector, industry, tag, watchlist';
COMMENT ON COLUMN bi.risk.subject IS 'ticker, or name of the portfolio or group within its kind';
COMMENT ON COLUMN bi.risk.ticker IS 'the ticker; NULL: a group or portfolio';
COMMENT ON COLUMN bi.risk.calendar IS 'exchange calendar code: a group of several has a row for each';
COMMENT ON COLUMN bi.risk.currency IS 'ISO 4217 code of its prices; NULL: unknown, or a group, whose tickers count each in its own';
COMMENT ON COLUMN bi.risk.kind IS 'live: made in time; late: made after the deadline; backtest: a simulation';
COMMENT ON COLUMN bi.risk.level_pct IS '1, 2.5 or 5: percent of sessions in which the loss is expected to be larger than the value at risk';
COMMENT ON COLUMN bi.risk.origin_session IS 'last session known when it was made';
COMMENT ON COLUMN bi.risk.method IS 'method whose widths are the scales';
COMMENT ON COLUMN bi.risk.simulations IS 'past sessions that it is made of';
COMMENT ON COLUMN bi.risk.members IS 'tickers that it is made of';
COMMENT ON COLUMN bi.risk.exposure IS 'gross exposure of a portfolio at the close of the origin, in its currency; NULL: a ticker or group';
COMMENT ON COLUMN bi.risk.value_at_risk_pct IS 'loss that is exceeded so often, percent of the exposure; below 0: a gain';
COMMENT ON COLUMN bi.risk.expected_shortfall_pct IS 'mean loss of the simulated outcomes beyond it, percent of the exposure';
COMMENT ON COLUMN bi.risk.value_at_risk IS 'the value at risk of a portfolio in its currency; NULL: a ticker or group';
COMMENT ON COLUMN bi.risk.expected_shortfall IS 'the expected shortfall of a portfolio in its currency; NULL: a ticker or group';
COMMENT ON COLUMN bi.risk.score_status IS 'open: not yet; scored; masked: a return may be an error of the data; no_session: never held';
COMMENT ON COLUMN bi.risk.actual_return_pct IS 'simple return that came, percent of the exposure';
COMMENT ON COLUMN bi.risk.actual_result IS 'profit or loss of a portfolio that came, in its currency';
COMMENT ON COLUMN bi.risk.is_breach IS 'the loss that came was larger than the value at risk; NULL: open or masked';
COMMENT ON COLUMN bi.risk.issued_at IS 'when it was made';
COMMENT ON COLUMN bi.risk.recorded_at IS 'when the database took it, by its own clock';
COMMENT ON COLUMN bi.risk.deadline_at IS 'live only if made and recorded before';
COMMENT ON COLUMN bi.risk.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.risk.updated_at IS 'when the forecast or its score was recorded';
