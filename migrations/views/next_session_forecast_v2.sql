CREATE OR REPLACE VIEW bi.next_session_forecast AS
SELECT
    h.session,
    h.session_close_at,
    h.ticker,
    h.name,
    h.currency,
    h.method,
    h.kind,
    -- Old forecasts stay visible, and say that they are old.
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
    h.is_trusted,
    h.calendar,
    h.is_demo
FROM stockbatch.instruments AS i
-- The newest session is looked up per ticker in the index, never by a sort of the whole ledger.
CROSS JOIN LATERAL (
    SELECT max(target_session) AS session FROM stockbatch.forecasts WHERE instrument_id = i.id
) AS latest
JOIN bi.forecast_history AS h ON h.ticker = i.ticker AND h.session = latest.session
WHERE i.active;

COMMENT ON COLUMN bi.next_session_forecast.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.next_session_forecast.is_demo IS 'demonstration data';
