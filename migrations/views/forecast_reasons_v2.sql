-- The words for every reason are here and nowhere else, for the case that it widens and that it does
-- not.
CREATE OR REPLACE VIEW bi.forecast_reasons AS
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
        ('news', 'news speaks for more', 'news speaks for less'),
        ('lstm', 'the network expects more', 'the network expects less'),
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

COMMENT ON COLUMN bi.forecast_reasons.reason IS 'own_moves, market_moves: sizes of the last moves; level: the ticker''s own of the last year; direction: which way prices went; turnover; reports; news, where it is asked for; lstm: what the network adds, whichever is set; calibration: what past intervals missed; last_year: the shape of the returns that the usual move is told by';
