CREATE VIEW bi.price_and_forecast AS
WITH split AS (
    SELECT instrument_id, session, value AS ratio
    FROM stockbatch.corporate_actions
    WHERE kind = 'split' AND retracted_at IS NULL
),
restated AS (
    SELECT
        i.ticker,
        b.session,
        b.open / later.ratio AS open,
        b.high / later.ratio AS high,
        b.low / later.ratio AS low,
        b.close / later.ratio AS close,
        b.volume * later.ratio AS volume,
        b.fetched_at
    FROM stockbatch.bars AS b
    JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
    CROSS JOIN LATERAL (
        SELECT coalesce(exp(sum(ln(s.ratio))), 1) AS ratio
        FROM split AS s
        WHERE s.instrument_id = b.instrument_id AND s.session > b.session
    ) AS later
    WHERE b.state <> 'quarantined'
),
price AS (
    SELECT
        *,
        avg(close) OVER (PARTITION BY ticker ORDER BY session ROWS 19 PRECEDING) AS average_20,
        avg(close) OVER (PARTITION BY ticker ORDER BY session ROWS 49 PRECEDING) AS average_50,
        avg(close) OVER (PARTITION BY ticker ORDER BY session ROWS 199 PRECEDING) AS average_200,
        row_number() OVER (PARTITION BY ticker ORDER BY session) AS number
    FROM restated
),
forecast AS (
    SELECT h.*, later.ratio
    FROM bi.forecast_history AS h
    JOIN stockbatch.instruments AS i ON i.ticker = h.ticker
    CROSS JOIN LATERAL (
        SELECT coalesce(exp(sum(ln(s.ratio))), 1) AS ratio
        FROM split AS s
        WHERE s.instrument_id = i.id AND s.session > h.origin_session
    ) AS later
    WHERE h.method = 'lstm'
)
SELECT
    session,
    s.close_at AS session_close_at,
    ticker,
    i.currency,
    p.open,
    p.high,
    p.low,
    p.close,
    p.volume,
    CASE WHEN p.number >= 20 THEN p.average_20 END AS average_20,
    CASE WHEN p.number >= 50 THEN p.average_50 END AS average_50,
    CASE WHEN p.number >= 200 THEN p.average_200 END AS average_200,
    f.kind AS forecast_kind,
    f.origin_session,
    f.forecast_close / f.ratio AS forecast_close,
    f.close_low_80 / f.ratio AS close_low_80,
    f.close_high_80 / f.ratio AS close_high_80,
    f.close_low_95 / f.ratio AS close_low_95,
    f.close_high_95 / f.ratio AS close_high_95,
    f.probability_of_rise_pct,
    greatest(p.fetched_at, f.updated_at) AS updated_at
FROM price AS p
FULL JOIN forecast AS f USING (ticker, session)
JOIN stockbatch.instruments AS i USING (ticker)
LEFT JOIN stockbatch.sessions AS s USING (calendar, session);

COMMENT ON VIEW bi.price_and_forecast IS
    'One row per ticker and session: the bar, its moving averages and the LSTM forecast of that session, all restated for later splits; the session to come has a forecast and no bar.';
COMMENT ON COLUMN bi.price_and_forecast.session IS 'trading session';
COMMENT ON COLUMN bi.price_and_forecast.session_close_at IS 'instant it closes';
COMMENT ON COLUMN bi.price_and_forecast.ticker IS 'ticker';
COMMENT ON COLUMN bi.price_and_forecast.currency IS 'currency of all prices in the row';
COMMENT ON COLUMN bi.price_and_forecast.open IS 'first price';
COMMENT ON COLUMN bi.price_and_forecast.high IS 'highest price';
COMMENT ON COLUMN bi.price_and_forecast.low IS 'lowest price';
COMMENT ON COLUMN bi.price_and_forecast.close IS 'last price';
COMMENT ON COLUMN bi.price_and_forecast.volume IS 'units traded';
COMMENT ON COLUMN bi.price_and_forecast.average_20 IS 'mean close of the last 20 bars; NULL before there are 20';
COMMENT ON COLUMN bi.price_and_forecast.average_50 IS 'mean close of the last 50 bars; NULL before there are 50';
COMMENT ON COLUMN bi.price_and_forecast.average_200 IS 'mean close of the last 200 bars; NULL before there are 200';
COMMENT ON COLUMN bi.price_and_forecast.forecast_kind IS 'live, late or backtest';
COMMENT ON COLUMN bi.price_and_forecast.origin_session IS 'last session whose bar the forecast used';
COMMENT ON COLUMN bi.price_and_forecast.forecast_close IS 'close that was forecast for the session';
COMMENT ON COLUMN bi.price_and_forecast.close_low_80 IS 'lower end of the 80 % interval';
COMMENT ON COLUMN bi.price_and_forecast.close_high_80 IS 'upper end of the 80 % interval';
COMMENT ON COLUMN bi.price_and_forecast.close_low_95 IS 'lower end of the 95 % interval';
COMMENT ON COLUMN bi.price_and_forecast.close_high_95 IS 'upper end of the 95 % interval';
COMMENT ON COLUMN bi.price_and_forecast.probability_of_rise_pct IS 'forecast probability of a positive return, percent';
COMMENT ON COLUMN bi.price_and_forecast.updated_at IS 'last change of the row';
