CREATE VIEW bi.next_session_forecast AS
SELECT
    h.session,
    h.session_close_at,
    h.ticker,
    h.name,
    h.currency,
    h.method,
    h.kind,
    h.session_close_at > now() AS is_current,
    h.origin_session,
    h.origin_close,
    h.forecast_close,
    h.forecast_return_pct,
    h.median_close,
    h.close_low_50,
    h.close_high_50,
    h.close_low_80,
    h.close_high_80,
    h.close_low_90,
    h.close_high_90,
    h.close_low_95,
    h.close_high_95,
    h.probability_of_rise_pct,
    h.issued_at,
    h.deadline_at,
    h.model_id,
    h.updated_at,
    h.volatility_pct,
    h.shrinkage,
    h.dissimilarity,
    h.is_trusted
FROM stockbatch.instruments AS i
CROSS JOIN LATERAL (
    SELECT max(target_session) AS session FROM stockbatch.forecasts WHERE instrument_id = i.id
) AS latest
JOIN bi.forecast_history AS h ON h.ticker = i.ticker AND h.session = latest.session
WHERE i.active;

COMMENT ON VIEW bi.next_session_forecast IS
    'One row per active ticker and method: the forecast of the latest target session.';
COMMENT ON COLUMN bi.next_session_forecast.session IS 'session the forecast is about';
COMMENT ON COLUMN bi.next_session_forecast.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.next_session_forecast.ticker IS 'ticker';
COMMENT ON COLUMN bi.next_session_forecast.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.next_session_forecast.currency IS 'currency of all prices in the row';
COMMENT ON COLUMN bi.next_session_forecast.method IS 'lstm, or the baseline that made the forecast';
COMMENT ON COLUMN bi.next_session_forecast.kind IS 'live: made in time; late: made after the deadline; backtest: a simulation';
COMMENT ON COLUMN bi.next_session_forecast.is_current IS 'the session has not closed yet; false: the forecast is old';
COMMENT ON COLUMN bi.next_session_forecast.origin_session IS 'last session whose bar the forecast used';
COMMENT ON COLUMN bi.next_session_forecast.origin_close IS 'close of the origin session, as known then';
COMMENT ON COLUMN bi.next_session_forecast.forecast_close IS 'close that is forecast';
COMMENT ON COLUMN bi.next_session_forecast.forecast_return_pct IS 'forecast change from origin to target close, percent';
COMMENT ON COLUMN bi.next_session_forecast.median_close IS 'the close is as likely above as below';
COMMENT ON COLUMN bi.next_session_forecast.close_low_50 IS 'lower end of the 50 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_high_50 IS 'upper end of the 50 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_low_80 IS 'lower end of the 80 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_high_80 IS 'upper end of the 80 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_low_90 IS 'lower end of the 90 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_high_90 IS 'upper end of the 90 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_low_95 IS 'lower end of the 95 % interval';
COMMENT ON COLUMN bi.next_session_forecast.close_high_95 IS 'upper end of the 95 % interval';
COMMENT ON COLUMN bi.next_session_forecast.probability_of_rise_pct IS 'forecast probability of a positive return, percent';
COMMENT ON COLUMN bi.next_session_forecast.issued_at IS 'when the program made the forecast';
COMMENT ON COLUMN bi.next_session_forecast.deadline_at IS 'live only if made and recorded before';
COMMENT ON COLUMN bi.next_session_forecast.model_id IS 'model that made it; NULL: a baseline';
COMMENT ON COLUMN bi.next_session_forecast.updated_at IS 'last change of the row';
COMMENT ON COLUMN bi.next_session_forecast.volatility_pct IS 'standard deviation of the return as known at the origin, percent';
COMMENT ON COLUMN bi.next_session_forecast.shrinkage IS 'share of the median return that the point forecast kept; 0: the naive forecast';
COMMENT ON COLUMN bi.next_session_forecast.dissimilarity IS 'distance of the inputs from those the model was trained on; above 1: unlike 99 % of them';
COMMENT ON COLUMN bi.next_session_forecast.is_trusted IS 'false: the inputs are unlike those the model was trained on; NULL: a baseline';
