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
    greatest(h.updated_at, moves.updated_at) AS updated_at,
    h.volatility_pct,
    h.shrinkage,
    h.dissimilarity,
    h.is_trusted,
    h.calendar,
    h.is_demo,
    moves.event,
    coalesce(h.method = shown.method, false) AS is_headline,
    h.close_low_98,
    h.close_high_98,
    h.expected_move_pct,
    h.usual_move_pct,
    h.move_ratio,
    h.downside_pct,
    h.upside_pct,
    h.probability_of_fall_pct,
    h.probability_of_move_2_pct,
    h.probability_of_move_5_pct,
    why.sentence AS why
FROM stockbatch.instruments AS i
-- The newest session is looked up per ticker in the index, never by a sort of the whole ledger.
CROSS JOIN LATERAL (
    SELECT max(target_session) AS session FROM stockbatch.forecasts WHERE instrument_id = i.id
) AS latest
-- What is shown first is told by the session's own headline, as in bi.price_and_forecast.
LEFT JOIN LATERAL (
    SELECT made.method
    FROM (
        SELECT method FROM stockbatch.headlines
        WHERE from_session <= latest.session
        ORDER BY from_session DESC, id DESC
        LIMIT 1
    ) AS headline
    JOIN stockbatch.forecasts AS made
        ON made.method IN (headline.method, 'lstm', 'rolling_quantile')
    WHERE made.instrument_id = i.id AND made.target_session = latest.session AND made.horizon = 1
    ORDER BY made.method <> headline.method, made.method <> 'lstm'
    LIMIT 1
) AS shown ON true
JOIN bi.forecast_history AS h ON h.ticker = i.ticker AND h.session = latest.session
-- What is dated its origin and has no hour may have come after the close, and move this session too.
CROSS JOIN LATERAL (
    SELECT
        (array_agg(
            CASE
                WHEN e.session = h.session THEN e.event
                ELSE 'reported the session before, hour unknown'
            END
            ORDER BY e.session DESC, e.is_projected, e.kind <> 'earnings', e.event_id
        ) FILTER (
            WHERE e.is_current AND (
                e.session = h.session
                OR e.kind = 'earnings' AND e.timing = 'unknown' AND NOT e.is_projected
                    AND e.event_date = h.origin_session
            )
        ))[1] AS event,
        max(e.updated_at) AS updated_at
    FROM bi.events AS e
    WHERE e.ticker = i.ticker AND e.session IN (h.session, h.origin_session)
) AS moves
CROSS JOIN LATERAL (
    SELECT
        -- No word where no reason is given: a ratio alone explains nothing.
        CASE WHEN count(*) > 0 THEN concat_ws(
            ': ',
            round(h.move_ratio::numeric, 1) || ' × usual',
            string_agg(
                -- What a report does, its own words tell best.
                CASE WHEN r.reason = 'reports' AND r.factor > 1 THEN coalesce(moves.event, r.phrase)
                    ELSE r.phrase
                END,
                '; ' ORDER BY r.size_rank
            ) FILTER (WHERE r.size_rank <= 3 AND abs(ln(r.factor)) >= ln(1.02))
        ) END AS sentence
    FROM bi.forecast_reasons AS r
    WHERE r.ticker = h.ticker AND r.session = h.session AND r.method = h.method
) AS why
WHERE i.active;

COMMENT ON COLUMN bi.next_session_forecast.expected_move_pct IS 'half of the 80 % interval, percent of origin_close: four closes of five move about so far or less';
COMMENT ON COLUMN bi.next_session_forecast.usual_move_pct IS 'the same of the ticker''s own last 250 returns, as they were known then; NULL: too few, or a forecast of an older version';
COMMENT ON COLUMN bi.next_session_forecast.move_ratio IS 'expected_move_pct / usual_move_pct; 1.6: larger than usual by 60 %';
COMMENT ON COLUMN bi.next_session_forecast.downside_pct IS 'change at the 5 % level, percent: one close in twenty is expected below';
COMMENT ON COLUMN bi.next_session_forecast.upside_pct IS 'change at the 95 % level, percent: one close in twenty is expected above';
COMMENT ON COLUMN bi.next_session_forecast.probability_of_fall_pct IS 'forecast probability of a negative return, percent; what is left to 100 beside that of a rise is that of an unchanged close';
COMMENT ON COLUMN bi.next_session_forecast.probability_of_move_2_pct IS 'forecast probability of a change of more than 2 %, up or down, percent; NULL in forecasts of older versions';
COMMENT ON COLUMN bi.next_session_forecast.probability_of_move_5_pct IS 'forecast probability of a change of more than 5 %, up or down, percent; NULL in forecasts of older versions';
COMMENT ON COLUMN bi.next_session_forecast.why IS 'what makes the expected move larger or smaller than the usual one: the three largest reasons of at least 2 %, in words (bi.forecast_reasons has all); NULL: the method states none';
