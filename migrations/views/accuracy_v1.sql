CREATE VIEW bi.accuracy AS
SELECT
    m.through_session AS session,
    through.close_at AS session_close_at,
    CASE WHEN m.instrument_id IS NULL THEN 'calendar' ELSE 'ticker' END AS scope,
    i.ticker,
    m.calendar,
    i.currency,
    m.method,
    m.kind,
    m.window_sessions,
    m.metric,
    m.n,
    m.value,
    m.baseline,
    100 * m.skill AS skill_pct,
    m.updated_at
FROM stockbatch.metrics AS m
LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
LEFT JOIN stockbatch.sessions AS through
    ON through.calendar = m.calendar AND through.session = m.through_session;

COMMENT ON VIEW bi.accuracy IS
    'One row per ticker (current) or calendar (one per session), method, kind, window and metric.';
COMMENT ON COLUMN bi.accuracy.session IS 'last target session of the window';
COMMENT ON COLUMN bi.accuracy.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.accuracy.scope IS 'ticker, or calendar: all its tickers together, returns only, demonstration data left out';
COMMENT ON COLUMN bi.accuracy.ticker IS 'ticker; NULL for all of the calendar (there is a ticker ALL)';
COMMENT ON COLUMN bi.accuracy.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.accuracy.currency IS 'currency of price metrics (mae, rmse, bias); NULL for a calendar';
COMMENT ON COLUMN bi.accuracy.method IS 'lstm, or the baseline that made the forecasts';
COMMENT ON COLUMN bi.accuracy.kind IS 'live, late or backtest: never mixed';
COMMENT ON COLUMN bi.accuracy.window_sessions IS 'target sessions looked back at';
COMMENT ON COLUMN bi.accuracy.metric IS 'name of the metric';
COMMENT ON COLUMN bi.accuracy.n IS 'scored forecasts behind it';
COMMENT ON COLUMN bi.accuracy.value IS 'the metric; coverage and hit rates are shares from 0 to 1';
COMMENT ON COLUMN bi.accuracy.baseline IS 'the same metric of the baseline (naive for point errors, rolling quantile for quantiles), of the forecasts that both made';
COMMENT ON COLUMN bi.accuracy.skill_pct IS 'percent better than the baseline, of the forecasts that both made; below 0: worse; NULL where skill has no meaning';
COMMENT ON COLUMN bi.accuracy.updated_at IS 'last change of the row';
