CREATE OR REPLACE VIEW bi.interval_coverage AS
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
    is_demo,
    is_headline
FROM bi.accuracy
WHERE metric IN ('coverage_50', 'coverage_80', 'coverage_90', 'coverage_95', 'coverage_98');

COMMENT ON COLUMN bi.interval_coverage.interval_pct IS 'the interval: 50, 80, 90, 95 or 98; what its coverage should be';
