-- Every row looks up its own forecast, so that a filter on ticker or session, or both, reads no more
-- than it needs; no WITH at the top, so that what nobody selects costs nothing.
-- A forecast is on the basis of its origin's close as it was then. Splits since are stated, or, by a
-- provider of adjusted prices, only to be seen from what became of that close.
CREATE OR REPLACE VIEW bi.price_and_forecast AS
SELECT
    p.session,
    s.close_at AS session_close_at,
    p.ticker,
    p.currency,
    -- Divided by the shares that one share has become since, prices as traded are what today's
    -- share cost; prices adjusted for dividends are divided by what those paid since have added.
    p.open / now.shares AS open,
    p.high / now.shares AS high,
    p.low / now.shares AS low,
    p.close / now.shares AS close,
    p.volume * now.traded AS volume,
    average.of_20 / now.shares AS average_20,
    average.of_50 / now.shares AS average_50,
    average.of_200 / now.shares AS average_200,
    f.kind AS forecast_kind,
    f.origin_session,
    -- A forecast speaks of the close with its dividend, while the bar of the session is without it.
    f.close / f.shares - paid.dividend AS forecast_close,
    f.origin_close * exp(f.q10) / f.shares - paid.dividend AS close_low_80,
    f.origin_close * exp(f.q90) / f.shares - paid.dividend AS close_high_80,
    f.origin_close * exp(f.q025) / f.shares - paid.dividend AS close_low_95,
    f.origin_close * exp(f.q975) / f.shares - paid.dividend AS close_high_95,
    100 * f.probability_of_rise AS probability_of_rise_pct,
    greatest(p.fetched_at, f.recorded_at, split.seen_at, moves.updated_at[now.move]) AS updated_at,
    f.origin_close * exp(f.q25) / f.shares - paid.dividend AS close_low_50,
    f.origin_close * exp(f.q75) / f.shares - paid.dividend AS close_high_50,
    p.state AS bar_state,
    p.calendar,
    p.is_demo,
    moves.events[now.move] AS event,
    f.method,
    f.origin_close * exp(f.q01) / f.shares - paid.dividend AS close_low_98,
    f.origin_close * exp(f.q99) / f.shares - paid.dividend AS close_high_98,
    50 * (exp(f.q90) - exp(f.q10)) AS expected_move_pct,
    100 * f.usual_move AS usual_move_pct,
    (exp(f.q90) - exp(f.q10)) / (2 * nullif(f.usual_move, 0)) AS move_ratio
FROM (
    SELECT
        i.id AS instrument_id, i.ticker, i.currency, i.calendar, i.demo AS is_demo,
        b.session, b.open, b.high, b.low, b.close, b.volume, b.state, b.fetched_at
    FROM stockbatch.bars AS b
    JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
    WHERE b.state <> 'quarantined'
    -- Sessions that were forecast and have no bar yet, so that charts can go on to the next one.
    UNION ALL
    SELECT
        i.id, i.ticker, i.currency, i.calendar, i.demo,
        f.target_session, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM stockbatch.forecasts AS f
    JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
    WHERE f.horizon = 1
        AND NOT EXISTS (
            SELECT FROM stockbatch.bars AS b
            WHERE b.instrument_id = f.instrument_id AND b.session = f.target_session
                AND b.state <> 'quarantined'
        )
        -- The first one stands for all forecasts of the session: which is shown is asked below.
        AND NOT EXISTS (
            SELECT FROM stockbatch.forecasts AS other
            WHERE other.instrument_id = f.instrument_id
                AND other.target_session = f.target_session
                AND other.horizon = 1
                AND other.id < f.id
        )
) AS p
JOIN stockbatch.split_ratios AS split ON split.instrument_id = p.instrument_id
-- What is asked once an instrument, and not once a row: a row only looks it up.
CROSS JOIN LATERAL (
    SELECT min(target_session) AS first_session FROM stockbatch.forecasts
    WHERE instrument_id = split.instrument_id
) AS forecast
CROSS JOIN LATERAL (
    SELECT
        array_agg(session) AS sessions,
        array_agg(event) AS events,
        array_agg(updated_at) AS updated_at
    FROM (
        SELECT
            own.session,
            (array_agg(e.event ORDER BY e.is_projected, e.kind <> 'earnings', own.id)
                FILTER (WHERE e.is_current))[1] AS event,
            max(greatest(own.recorded_at, own.withdrawn_at)) AS updated_at
        FROM stockbatch.events AS own
        JOIN bi.events AS e ON e.event_id = own.id
        WHERE own.instrument_id = split.instrument_id
        GROUP BY own.session
    ) AS of_session
) AS moves
LEFT JOIN stockbatch.sessions AS s ON s.calendar = p.calendar AND s.session = p.session
CROSS JOIN LATERAL (
    SELECT
        coalesce(split.ratios[width_bucket(p.session, split.sessions) + 1], 1) AS shares,
        coalesce(split.shares[width_bucket(p.session, split.sessions) + 1], 1) AS traded,
        array_position(moves.sessions, p.session) AS move
    OFFSET 0 -- once a row, and not once a column
) AS now
-- On the basis of the session's own prices, as they were stored: see stockbatch.renew_averages.
LEFT JOIN stockbatch.averages AS average
    ON average.instrument_id = p.instrument_id AND average.session = p.session
-- Which method goes first is told by ranges of sessions, of which there are few: each row falls into
-- one. Of several changes from the same session all but the last have an empty range.
LEFT JOIN (
    SELECT method, from_session, lead(from_session, 1, 'infinity') OVER (ORDER BY from_session, id)
        AS until
    FROM stockbatch.headlines
) AS headline ON p.session >= headline.from_session AND p.session < headline.until
LEFT JOIN LATERAL (
    SELECT
        best.*,
        coalesce(split.ratios[width_bucket(best.origin_session, split.sessions) + 1], 1)
            * coalesce(
                stockbatch.restated(best.origin_close, origin.close, origin.price_basis), 1
            ) AS shares
    FROM (
        SELECT made.*
        FROM stockbatch.forecasts AS made
        WHERE made.instrument_id = p.instrument_id AND made.target_session = p.session
            AND made.horizon = 1
            AND p.session >= forecast.first_session -- most have none: they are not looked up
            -- An array, so that one walk of the index finds all three, or none.
            AND made.method = ANY (ARRAY[headline.method, 'lstm', 'rolling_quantile'])
            -- Of the method shown, live before late before backtest, as in bi.forecast_history.
            AND NOT EXISTS (
                SELECT FROM stockbatch.forecasts AS better
                WHERE better.instrument_id = made.instrument_id
                    AND better.target_session = made.target_session
                    AND better.horizon = 1
                    AND better.method = ANY (ARRAY[headline.method, 'lstm', 'rolling_quantile'])
                    AND (
                        better.method = headline.method, better.method = 'lstm',
                        better.kind, better.recorded_at, better.id
                    ) > (
                        made.method = headline.method, made.method = 'lstm',
                        made.kind, made.recorded_at, made.id
                    )
            )
        OFFSET 0 -- row by row
    ) AS best
    LEFT JOIN stockbatch.bars AS origin
        ON origin.instrument_id = p.instrument_id AND origin.session = best.origin_session
        AND origin.state <> 'quarantined'
) AS f ON true
LEFT JOIN stockbatch.corporate_actions AS action
    ON action.instrument_id = p.instrument_id AND action.session = p.session
    AND action.kind = 'dividend' AND NOT action.in_prices AND action.retracted_at IS NULL
CROSS JOIN LATERAL (
    -- None is taken off where there is no bar: it is off the close only.
    SELECT CASE WHEN p.state IS NULL THEN 0 ELSE coalesce(action.value, 0) / now.shares END
        AS dividend
) AS paid
WHERE p.state IS NOT NULL OR f.method IS NOT NULL;

