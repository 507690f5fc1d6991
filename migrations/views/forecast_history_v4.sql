-- Flat, so that any filter reaches the indexes.
-- Kinds sort as they are preferred: 'backtest' < 'late' < 'live'.
CREATE OR REPLACE VIEW bi.forecast_history AS
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
    -- Returns are kept as logarithms, which add up; people are told the change in percent.
    100 * (exp(f.log_return) - 1) AS forecast_return_pct,
    -- Quantiles are of the log return: exp keeps their order, so that these are those of the close.
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
    -- No score yet, because the session has not been held, or its bar has not come.
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
    f.trusted AS is_trusted,
    i.calendar,
    i.demo AS is_demo,
    f.origin_close * exp(f.q01) AS close_low_98,
    f.origin_close * exp(f.q99) AS close_high_98,
    s.inside_98,
    -- Of the price, as people know changes: half the distance between the two closes.
    50 * (exp(f.q90) - exp(f.q10)) AS expected_move_pct,
    100 * f.usual_move AS usual_move_pct,
    (exp(f.q90) - exp(f.q10)) / (2 * nullif(f.usual_move, 0)) AS move_ratio,
    100 * (exp(f.q05) - 1) AS downside_pct,
    100 * (exp(f.q95) - 1) AS upside_pct,
    100 * f.probability_of_fall AS probability_of_fall_pct,
    100 * f.probability_of_move_2 AS probability_of_move_2_pct,
    100 * f.probability_of_move_5 AS probability_of_move_5_pct
FROM stockbatch.forecasts AS f
JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
LEFT JOIN stockbatch.sessions AS target
    ON target.calendar = i.calendar AND target.session = f.target_session
-- A forecast is scored once more when its bar is corrected: the last revision counts.
LEFT JOIN LATERAL (
    SELECT * FROM stockbatch.scores WHERE forecast_id = f.id ORDER BY revision DESC LIMIT 1
) AS s ON true
WHERE f.horizon = 1
    -- Of several forecasts of a session one is shown, the preferred kind and of these the newest.
    AND NOT EXISTS (
        SELECT FROM stockbatch.forecasts AS better
        WHERE better.instrument_id = f.instrument_id
            AND better.target_session = f.target_session
            AND better.horizon = 1
            AND better.method = f.method
            AND (better.kind, better.recorded_at, better.id) > (f.kind, f.recorded_at, f.id)
    );

COMMENT ON COLUMN bi.forecast_history.expected_move_pct IS 'half of the 80 % interval, percent of origin_close: four closes of five move about so far or less';
COMMENT ON COLUMN bi.forecast_history.usual_move_pct IS 'the same of the ticker''s own last 250 returns, as they were known then; NULL: too few, or a forecast of an older version';
COMMENT ON COLUMN bi.forecast_history.move_ratio IS 'expected_move_pct / usual_move_pct; 1.6: larger than usual by 60 %';
COMMENT ON COLUMN bi.forecast_history.downside_pct IS 'change at the 5 % level, percent: one close in twenty is expected below';
COMMENT ON COLUMN bi.forecast_history.upside_pct IS 'change at the 95 % level, percent: one close in twenty is expected above';
COMMENT ON COLUMN bi.forecast_history.probability_of_fall_pct IS 'forecast probability of a negative return, percent; what is left to 100 beside that of a rise is that of an unchanged close';
COMMENT ON COLUMN bi.forecast_history.probability_of_move_2_pct IS 'forecast probability of a change of more than 2 %, up or down, percent; NULL in forecasts of older versions';
COMMENT ON COLUMN bi.forecast_history.probability_of_move_5_pct IS 'forecast probability of a change of more than 5 %, up or down, percent; NULL in forecasts of older versions';
