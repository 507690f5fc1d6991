CREATE VIEW bi.interval_coverage AS
SELECT
    session,
    session_close_at,
    scope,
    ticker,
    calendar,
    method,
    kind,
    window_sessions,
    right(metric, 2)::integer AS interval_pct,
    n,
    100 * value AS coverage_pct,
    100 * value - right(metric, 2)::integer AS deviation_pct,
    updated_at,
    is_demo
FROM bi.accuracy
WHERE metric IN ('coverage_50', 'coverage_80', 'coverage_90', 'coverage_95');

COMMENT ON VIEW bi.interval_coverage IS
    'One row per ticker (current) or calendar (one per session), method, kind, window and interval: how often the actual close was inside.';
COMMENT ON COLUMN bi.interval_coverage.session IS 'last target session of the window';
COMMENT ON COLUMN bi.interval_coverage.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.interval_coverage.scope IS 'ticker, or calendar: all its tickers together, demonstration data left out';
COMMENT ON COLUMN bi.interval_coverage.ticker IS 'ticker; NULL for all of the calendar';
COMMENT ON COLUMN bi.interval_coverage.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.interval_coverage.method IS 'lstm, or the baseline that made the forecasts';
COMMENT ON COLUMN bi.interval_coverage.kind IS 'live, late or backtest: never mixed';
COMMENT ON COLUMN bi.interval_coverage.window_sessions IS 'target sessions looked back at';
COMMENT ON COLUMN bi.interval_coverage.interval_pct IS 'the interval: 50, 80, 90 or 95; what its coverage should be';
COMMENT ON COLUMN bi.interval_coverage.n IS 'scored forecasts behind it';
COMMENT ON COLUMN bi.interval_coverage.coverage_pct IS 'percent of them whose actual close was inside';
COMMENT ON COLUMN bi.interval_coverage.deviation_pct IS 'coverage_pct - interval_pct; below 0: the intervals were too narrow';
COMMENT ON COLUMN bi.interval_coverage.updated_at IS 'last change of the row';
COMMENT ON COLUMN bi.interval_coverage.is_demo IS 'demonstration data';
