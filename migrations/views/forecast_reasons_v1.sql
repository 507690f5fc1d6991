-- The words for every reason are here and nowhere else, for the case that it widens and that it does
-- not.
CREATE VIEW bi.forecast_reasons AS
SELECT
    f.target_session AS session,
    target.close_at AS session_close_at,
    i.ticker,
    i.calendar,
    i.demo AS is_demo,
    f.method,
    f.kind,
    term.reason,
    -- Terms are logarithms, which add up to that of the ratio: as factors they multiply to it.
    exp(term.value) AS factor,
    term.size_rank,
    CASE WHEN term.value > 0 THEN words.more ELSE words.less END AS phrase,
    f.recorded_at AS updated_at
FROM stockbatch.forecasts AS f
JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
LEFT JOIN stockbatch.sessions AS target
    ON target.calendar = i.calendar AND target.session = f.target_session
CROSS JOIN LATERAL (
    SELECT
        key AS reason, value::float8 AS value,
        row_number() OVER (ORDER BY abs(value::float8) DESC, key)::integer AS size_rank
    FROM jsonb_each_text(f.reasons)
) AS term
LEFT JOIN (
    VALUES
        ('own_moves', 'own range above its average', 'own range below its average'),
        ('level', 'its own level speaks for more', 'its own level speaks for less'),
        ('market_moves', 'market volatility up', 'market volatility down'),
        ('direction', 'direction of recent returns speaks for more',
            'direction of recent returns speaks for less'),
        ('turnover', 'turnover speaks for more', 'turnover speaks for less'),
        ('reports', 'a report is near', 'no report is near'),
        ('lstm', 'the LSTM expects more', 'the LSTM expects less'),
        ('calibration', 'past intervals were too narrow', 'past intervals were too wide'),
        ('last_year', 'rare large moves in its last year', 'evenly sized moves in its last year')
) AS words (reason, more, less) ON words.reason = term.reason
WHERE f.horizon = 1
    -- The forecast that is shown, as in bi.forecast_history.
    AND NOT EXISTS (
        SELECT FROM stockbatch.forecasts AS better
        WHERE better.instrument_id = f.instrument_id
            AND better.target_session = f.target_session
            AND better.horizon = 1
            AND better.method = f.method
            AND (better.kind, better.recorded_at, better.id) > (f.kind, f.recorded_at, f.id)
    );

COMMENT ON VIEW bi.forecast_reasons IS
    'One row per forecast, of the methods that state them, and reason for an expected move other than usual.';
COMMENT ON COLUMN bi.forecast_reasons.session IS 'session the forecast is about';
COMMENT ON COLUMN bi.forecast_reasons.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.forecast_reasons.ticker IS 'ticker';
COMMENT ON COLUMN bi.forecast_reasons.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.forecast_reasons.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.forecast_reasons.method IS 'method that made the forecast';
COMMENT ON COLUMN bi.forecast_reasons.kind IS 'live: made in time; late: made after the deadline; backtest: a simulation';
COMMENT ON COLUMN bi.forecast_reasons.reason IS 'own_moves, market_moves: sizes of the last moves; level: the ticker''s own of the last year; direction: which way prices went; turnover; reports; lstm: what the network adds; calibration: what past intervals missed; last_year: the shape of the returns that the usual move is told by';
COMMENT ON COLUMN bi.forecast_reasons.factor IS 'by how much it multiplies the usual move; all of a forecast multiply to its move_ratio';
COMMENT ON COLUMN bi.forecast_reasons.size_rank IS '1: what makes most of a difference, up or down';
COMMENT ON COLUMN bi.forecast_reasons.phrase IS 'the same in words';
COMMENT ON COLUMN bi.forecast_reasons.updated_at IS 'when the forecast was recorded';
