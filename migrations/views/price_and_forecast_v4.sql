-- Every row looks up its own averages and forecast, so that a filter on ticker or session, or both,
-- reads no more than it needs; no WITH at the top, so that averages nobody selects cost nothing.
-- A forecast is on the basis of its origin's close as it was then. Splits since are stated, or, by a
-- provider of adjusted prices, only to be seen from what became of that close.
CREATE OR REPLACE VIEW bi.price_and_forecast AS
SELECT
    b.session,
    s.close_at AS session_close_at,
    i.ticker,
    i.currency,
    -- Divided by the shares that one share has become since, prices as traded are what today's
    -- share cost; prices adjusted for dividends are divided by what those paid since have added.
    b.open / now.shares AS open,
    b.high / now.shares AS high,
    b.low / now.shares AS low,
    b.close / now.shares AS close,
    b.volume * now.traded AS volume,
    average.of_20 AS average_20,
    average.of_50 AS average_50,
    average.of_200 AS average_200,
    f.kind AS forecast_kind,
    f.origin_session,
    -- A forecast speaks of the close with its dividend, while the bar of the session is without it.
    f.close / f.shares - paid.dividend AS forecast_close,
    f.origin_close * exp(f.q10) / f.shares - paid.dividend AS close_low_80,
    f.origin_close * exp(f.q90) / f.shares - paid.dividend AS close_high_80,
    f.origin_close * exp(f.q025) / f.shares - paid.dividend AS close_low_95,
    f.origin_close * exp(f.q975) / f.shares - paid.dividend AS close_high_95,
    100 * f.probability_of_rise AS probability_of_rise_pct,
    greatest(b.fetched_at, f.recorded_at, split.seen_at, moves.updated_at) AS updated_at,
    f.origin_close * exp(f.q25) / f.shares - paid.dividend AS close_low_50,
    f.origin_close * exp(f.q75) / f.shares - paid.dividend AS close_high_50,
    b.state AS bar_state,
    i.calendar,
    i.demo AS is_demo,
    moves.event
FROM stockbatch.bars AS b
JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
JOIN stockbatch.split_ratios AS split ON split.instrument_id = i.id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = b.session
CROSS JOIN LATERAL (
    SELECT
        coalesce(split.ratios[width_bucket(b.session, split.sessions) + 1], 1) AS shares,
        coalesce(split.shares[width_bucket(b.session, split.sessions) + 1], 1) AS traded
) AS now
LEFT JOIN LATERAL (
    SELECT
        max(mean.close) FILTER (WHERE size = 20) AS of_20,
        max(mean.close) FILTER (WHERE size = 50) AS of_50,
        max(mean.close) FILTER (WHERE size = 200) AS of_200
    FROM (VALUES (20), (50), (200)) AS averaged (size)
    CROSS JOIN LATERAL (
        -- An average of fewer sessions than it is named after is none.
        SELECT CASE WHEN count(*) = size THEN avg(past.close) END AS close
        FROM (
            SELECT
                close / coalesce(split.ratios[width_bucket(session, split.sessions) + 1], 1)
                    AS close
            FROM stockbatch.bars
            WHERE instrument_id = b.instrument_id AND session <= b.session
                AND state <> 'quarantined'
            ORDER BY session DESC
            LIMIT size
        ) AS past
    ) AS mean
) AS average ON true
LEFT JOIN LATERAL (
    SELECT
        best.*,
        coalesce(split.ratios[width_bucket(best.origin_session, split.sessions) + 1], 1)
            * coalesce(
                stockbatch.restated(best.origin_close, origin.close, origin.price_basis), 1
            ) AS shares
    FROM (
        SELECT * FROM stockbatch.forecasts
        WHERE instrument_id = b.instrument_id AND target_session = b.session
            AND horizon = 1 AND method = 'lstm'
        -- Live before late before backtest, as in bi.forecast_history.
        ORDER BY kind DESC, recorded_at DESC, id DESC
        LIMIT 1
    ) AS best
    LEFT JOIN stockbatch.bars AS origin
        ON origin.instrument_id = b.instrument_id AND origin.session = best.origin_session
        AND origin.state <> 'quarantined'
) AS f ON true
CROSS JOIN LATERAL (
    SELECT coalesce(max(value), 0) / now.shares AS dividend
    FROM stockbatch.corporate_actions
    WHERE instrument_id = b.instrument_id AND session = b.session
        AND kind = 'dividend' AND NOT in_prices AND retracted_at IS NULL
) AS paid
CROSS JOIN LATERAL (
    SELECT
        (array_agg(e.event ORDER BY e.is_projected, e.kind <> 'earnings', e.event_id)
            FILTER (WHERE e.is_current))[1] AS event,
        max(e.updated_at) AS updated_at
    FROM bi.events AS e
    WHERE e.ticker = i.ticker AND e.session = b.session
) AS moves
WHERE b.state <> 'quarantined'
-- Forecasts of sessions that have no bar yet, so that charts can go on to the next session.
UNION ALL
SELECT
    h.session,
    h.session_close_at,
    h.ticker,
    h.currency,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    h.kind,
    h.origin_session,
    h.forecast_close / now.shares,
    h.close_low_80 / now.shares,
    h.close_high_80 / now.shares,
    h.close_low_95 / now.shares,
    h.close_high_95 / now.shares,
    h.probability_of_rise_pct,
    greatest(h.recorded_at, split.seen_at, moves.updated_at),
    h.close_low_50 / now.shares,
    h.close_high_50 / now.shares,
    NULL,
    h.calendar,
    h.is_demo,
    moves.event
FROM bi.forecast_history AS h
JOIN stockbatch.instruments AS i ON i.ticker = h.ticker
JOIN stockbatch.split_ratios AS split ON split.instrument_id = i.id
LEFT JOIN stockbatch.bars AS origin
    ON origin.instrument_id = i.id AND origin.session = h.origin_session
    AND origin.state <> 'quarantined'
CROSS JOIN LATERAL (
    SELECT
        coalesce(split.ratios[width_bucket(h.origin_session, split.sessions) + 1], 1)
            * coalesce(
                stockbatch.restated(h.origin_close, origin.close, origin.price_basis), 1
            ) AS shares
) AS now
CROSS JOIN LATERAL (
    SELECT
        (array_agg(e.event ORDER BY e.is_projected, e.kind <> 'earnings', e.event_id)
            FILTER (WHERE e.is_current))[1] AS event,
        max(e.updated_at) AS updated_at
    FROM bi.events AS e
    WHERE e.ticker = i.ticker AND e.session = h.session
) AS moves
WHERE h.method = 'lstm'
    AND NOT EXISTS (
        SELECT FROM stockbatch.bars AS b
        WHERE b.instrument_id = i.id AND b.session = h.session AND b.state <> 'quarantined'
    );

COMMENT ON COLUMN bi.price_and_forecast.event IS
    'what moved the session, or is known to, e.g. reports after the close; NULL: nothing is known';
