CREATE VIEW bi.portfolio_forecasts AS
SELECT
    f.target_session AS session,
    target.close_at AS session_close_at,
    u.name AS portfolio,
    u.calendar,
    i.currency,
    f.kind,
    f.origin_session,
    cardinality(f.members) AS members,
    f.exposure,
    f.reason,
    f.method,
    f.simulations,
    100 * f.quantiles[6] AS median_return_pct,
    100 * f.quantiles[4] AS return_low_80_pct,
    100 * f.quantiles[8] AS return_high_80_pct,
    100 * f.quantiles[3] AS return_low_90_pct,
    100 * f.quantiles[9] AS return_high_90_pct,
    100 * f.quantiles[2] AS return_low_95_pct,
    100 * f.quantiles[10] AS return_high_95_pct,
    100 * f.quantiles[1] AS return_low_98_pct,
    100 * f.quantiles[11] AS return_high_98_pct,
    -- No score yet, because the session has not been held, or a bar has not come.
    coalesce(s.status, 'open') AS score_status,
    100 * s.actual_return AS actual_return_pct,
    f.exposure * s.actual_return AS actual_result,
    s.pinball,
    s.unscaled_pinball,
    s.inside_80,
    s.inside_95,
    f.issued_at,
    f.recorded_at,
    f.deadline_at,
    greatest(f.recorded_at, s.scored_at) AS updated_at
FROM stockbatch.risk_forecasts AS f
JOIN stockbatch.risk_subjects AS u ON u.id = f.subject_id
LEFT JOIN stockbatch.instruments AS i ON i.id = f.members[1]
LEFT JOIN stockbatch.sessions AS target
    ON target.calendar = u.calendar AND target.session = f.target_session
LEFT JOIN stockbatch.risk_scores AS s ON s.risk_forecast_id = f.id
WHERE u.kind = 'portfolio'
    -- Of several of one kind the newest.
    AND NOT EXISTS (
        SELECT FROM stockbatch.risk_forecasts AS newer
        WHERE newer.subject_id = f.subject_id
            AND newer.target_session = f.target_session
            AND newer.kind = f.kind
            AND (newer.recorded_at, newer.id) > (f.recorded_at, f.id)
    );

COMMENT ON VIEW bi.portfolio_forecasts IS 'One row per portfolio, session and kind: the distribution of its return that was simulated, or why there is none, and what came.';
COMMENT ON COLUMN bi.portfolio_forecasts.session IS 'session the forecast is about';
COMMENT ON COLUMN bi.portfolio_forecasts.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.portfolio_forecasts.portfolio IS 'name of the portfolio';
COMMENT ON COLUMN bi.portfolio_forecasts.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.portfolio_forecasts.currency IS 'ISO 4217 code of its prices; NULL: unknown';
COMMENT ON COLUMN bi.portfolio_forecasts.kind IS 'live: made in time; late: made after the deadline; backtest: a simulation';
COMMENT ON COLUMN bi.portfolio_forecasts.origin_session IS 'last session known when it was made';
COMMENT ON COLUMN bi.portfolio_forecasts.members IS 'tickers held';
COMMENT ON COLUMN bi.portfolio_forecasts.exposure IS 'gross exposure at the close of the origin: the sum of the absolute values held, in the currency';
COMMENT ON COLUMN bi.portfolio_forecasts.reason IS 'why there is no forecast, naming tickers; NULL: there is one';
COMMENT ON COLUMN bi.portfolio_forecasts.method IS 'method whose widths are the scales; NULL: no forecast';
COMMENT ON COLUMN bi.portfolio_forecasts.simulations IS 'past sessions, common to all tickers held, that it is made of';
COMMENT ON COLUMN bi.portfolio_forecasts.median_return_pct IS 'median of the simulated returns, percent of the exposure';
COMMENT ON COLUMN bi.portfolio_forecasts.return_low_80_pct IS 'lower end of the 80 % interval, percent of the exposure';
COMMENT ON COLUMN bi.portfolio_forecasts.return_high_80_pct IS 'upper end of the 80 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.return_low_90_pct IS 'lower end of the 90 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.return_high_90_pct IS 'upper end of the 90 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.return_low_95_pct IS 'lower end of the 95 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.return_high_95_pct IS 'upper end of the 95 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.return_low_98_pct IS 'lower end of the 98 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.return_high_98_pct IS 'upper end of the 98 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.score_status IS 'open: not yet, or no forecast; scored; masked: a return may be an error of the data; no_session: never held';
COMMENT ON COLUMN bi.portfolio_forecasts.actual_return_pct IS 'return that came, percent of the exposure';
COMMENT ON COLUMN bi.portfolio_forecasts.actual_result IS 'profit or loss that came, in the currency';
COMMENT ON COLUMN bi.portfolio_forecasts.pinball IS 'mean pinball loss of the quantiles of the return (a share, not percent) from 2.5 to 97.5 %; lower is better';
COMMENT ON COLUMN bi.portfolio_forecasts.unscaled_pinball IS 'the same of the simulation without scales: what history alone says';
COMMENT ON COLUMN bi.portfolio_forecasts.inside_80 IS 'return inside the 80 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.inside_95 IS 'return inside the 95 % interval';
COMMENT ON COLUMN bi.portfolio_forecasts.issued_at IS 'when it was made';
COMMENT ON COLUMN bi.portfolio_forecasts.recorded_at IS 'when the database took it, by its own clock';
COMMENT ON COLUMN bi.portfolio_forecasts.deadline_at IS 'live only if made and recorded before';
COMMENT ON COLUMN bi.portfolio_forecasts.updated_at IS 'when the forecast or its score was recorded';
