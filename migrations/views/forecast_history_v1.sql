CREATE VIEW bi.forecast_history AS
SELECT
    f.target_session AS session,
    target.close_at AS session_close_at,
    i.ticker,
    i.name,
    i.currency,
    f.method,
    f.kind,
    f.origin_session,
    f.origin_close,
    f.close AS forecast_close,
    100 * (exp(f.log_return) - 1) AS forecast_return_pct,
    f.origin_close * exp(f.q50) AS median_close,
    f.origin_close * exp(f.q25) AS close_low_50,
    f.origin_close * exp(f.q75) AS close_high_50,
    f.origin_close * exp(f.q10) AS close_low_80,
    f.origin_close * exp(f.q90) AS close_high_80,
    f.origin_close * exp(f.q05) AS close_low_90,
    f.origin_close * exp(f.q95) AS close_high_90,
    f.origin_close * exp(f.q025) AS close_low_95,
    f.origin_close * exp(f.q975) AS close_high_95,
    100 * f.probability_of_rise AS probability_of_rise_pct,
    coalesce(s.status, 'open') AS score_status,
    s.actual_close,
    100 * (exp(s.actual_log_return) - 1) AS actual_return_pct,
    s.error,
    s.absolute_error,
    s.percentage_error AS error_pct,
    s.pinball,
    s.direction_hit,
    s.inside_50,
    s.inside_80,
    s.inside_90,
    s.inside_95,
    f.issued_at,
    f.recorded_at,
    f.deadline_at,
    f.model_id,
    f.run_id,
    greatest(f.recorded_at, s.scored_at) AS updated_at,
    100 * f.volatility AS volatility_pct,
    f.shrinkage,
    f.dissimilarity,
    f.trusted AS is_trusted
FROM (
    SELECT DISTINCT ON (instrument_id, target_session, method, horizon) *
    FROM stockbatch.forecasts
    WHERE horizon = 1
    ORDER BY
        instrument_id, target_session, method, horizon,
        CASE kind WHEN 'live' THEN 1 WHEN 'late' THEN 2 ELSE 3 END,
        recorded_at DESC, id DESC
) AS f
JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
LEFT JOIN stockbatch.sessions AS target
    ON target.calendar = i.calendar AND target.session = f.target_session
LEFT JOIN LATERAL (
    SELECT * FROM stockbatch.scores WHERE forecast_id = f.id ORDER BY revision DESC LIMIT 1
) AS s ON true;

COMMENT ON VIEW bi.forecast_history IS
    'One row per ticker, target session and method: its forecast (live before late before backtest) and, once the session is over, how it did.';
COMMENT ON COLUMN bi.forecast_history.session IS 'session the forecast is about';
COMMENT ON COLUMN bi.forecast_history.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.forecast_history.ticker IS 'ticker';
COMMENT ON COLUMN bi.forecast_history.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.forecast_history.currency IS 'currency of all prices in the row';
COMMENT ON COLUMN bi.forecast_history.method IS 'lstm, or the baseline that made the forecast';
COMMENT ON COLUMN bi.forecast_history.kind IS 'live: made in time; late: made after the deadline; backtest: a simulation';
COMMENT ON COLUMN bi.forecast_history.origin_session IS 'last session whose bar the forecast used';
COMMENT ON COLUMN bi.forecast_history.origin_close IS 'close of the origin session, as known then';
COMMENT ON COLUMN bi.forecast_history.forecast_close IS 'close that was forecast, on the basis of origin_close';
COMMENT ON COLUMN bi.forecast_history.forecast_return_pct IS 'forecast change from origin to target close, percent';
COMMENT ON COLUMN bi.forecast_history.median_close IS 'the close is as likely above as below';
COMMENT ON COLUMN bi.forecast_history.close_low_50 IS 'lower end of the 50 % interval';
COMMENT ON COLUMN bi.forecast_history.close_high_50 IS 'upper end of the 50 % interval';
COMMENT ON COLUMN bi.forecast_history.close_low_80 IS 'lower end of the 80 % interval';
COMMENT ON COLUMN bi.forecast_history.close_high_80 IS 'upper end of the 80 % interval';
COMMENT ON COLUMN bi.forecast_history.close_low_90 IS 'lower end of the 90 % interval';
COMMENT ON COLUMN bi.forecast_history.close_high_90 IS 'upper end of the 90 % interval';
COMMENT ON COLUMN bi.forecast_history.close_low_95 IS 'lower end of the 95 % interval';
COMMENT ON COLUMN bi.forecast_history.close_high_95 IS 'upper end of the 95 % interval';
COMMENT ON COLUMN bi.forecast_history.probability_of_rise_pct IS 'forecast probability of a positive return, percent';
COMMENT ON COLUMN bi.forecast_history.score_status IS 'open: session not over; scored; masked: the actual return is not to be trusted; no_session: never held';
COMMENT ON COLUMN bi.forecast_history.actual_close IS 'actual close on the basis of origin_close (split and dividend undone)';
COMMENT ON COLUMN bi.forecast_history.actual_return_pct IS 'actual change from origin to target close, percent';
COMMENT ON COLUMN bi.forecast_history.error IS 'actual - forecast close';
COMMENT ON COLUMN bi.forecast_history.absolute_error IS 'size of the error';
COMMENT ON COLUMN bi.forecast_history.error_pct IS 'error in percent of the actual close';
COMMENT ON COLUMN bi.forecast_history.pinball IS 'mean pinball loss of the quantiles of the log return; lower is better';
COMMENT ON COLUMN bi.forecast_history.direction_hit IS 'the more probable direction came true; NULL where the close did not change';
COMMENT ON COLUMN bi.forecast_history.inside_50 IS 'actual inside the 50 % interval';
COMMENT ON COLUMN bi.forecast_history.inside_80 IS 'actual inside the 80 % interval';
COMMENT ON COLUMN bi.forecast_history.inside_90 IS 'actual inside the 90 % interval';
COMMENT ON COLUMN bi.forecast_history.inside_95 IS 'actual inside the 95 % interval';
COMMENT ON COLUMN bi.forecast_history.issued_at IS 'when the program made the forecast';
COMMENT ON COLUMN bi.forecast_history.recorded_at IS 'when the database recorded it';
COMMENT ON COLUMN bi.forecast_history.deadline_at IS 'live only if made and recorded before';
COMMENT ON COLUMN bi.forecast_history.model_id IS 'model that made it; NULL: a baseline';
COMMENT ON COLUMN bi.forecast_history.run_id IS 'run that made it';
COMMENT ON COLUMN bi.forecast_history.updated_at IS 'last change of the row';
COMMENT ON COLUMN bi.forecast_history.volatility_pct IS 'standard deviation of the return as known at the origin, percent';
COMMENT ON COLUMN bi.forecast_history.shrinkage IS 'share of the median return that the point forecast kept; 0: the naive forecast';
COMMENT ON COLUMN bi.forecast_history.dissimilarity IS 'distance of the inputs from those the model was trained on; above 1: unlike 99 % of them';
COMMENT ON COLUMN bi.forecast_history.is_trusted IS 'false: the inputs are unlike those the model was trained on; NULL: a baseline';
