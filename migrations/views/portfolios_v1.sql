-- What is held now, by the last statement of each ticker that has begun; who wants the past reads
-- stockbatch.holdings, which keeps every statement.
CREATE VIEW bi.portfolios AS
WITH held AS (
    SELECT DISTINCT ON (portfolio, instrument_id) *
    FROM stockbatch.holdings
    WHERE from_day <= (now() AT TIME ZONE 'UTC')::date
    ORDER BY portfolio, instrument_id, from_day DESC, id DESC
), valued AS (
    SELECT h.*, b.session, b.close, b.fetched_at, h.quantity * split.ratio AS units
    FROM held AS h
    LEFT JOIN LATERAL (
        SELECT session, close, fetched_at FROM stockbatch.bars
        WHERE instrument_id = h.instrument_id AND state <> 'quarantined'
        ORDER BY session DESC LIMIT 1
    ) AS b ON true
    -- Shares of the day of the statement become as many more by each split after it.
    CROSS JOIN LATERAL (
        SELECT exp(coalesce(sum(ln(value)), 0)) AS ratio FROM stockbatch.corporate_actions
        WHERE instrument_id = h.instrument_id AND kind = 'split' AND retracted_at IS NULL
            AND session > h.from_day AND session <= b.session
    ) AS split
    WHERE h.quantity <> 0
)
SELECT
    v.session,
    s.close_at AS session_close_at,
    v.portfolio,
    i.ticker,
    i.name,
    i.calendar,
    i.currency,
    v.from_day,
    v.quantity AS stated_quantity,
    v.units AS quantity,
    v.close,
    v.units * v.close AS value,
    100 * v.units * v.close
        / nullif(sum(abs(v.units * v.close)) OVER (PARTITION BY v.portfolio), 0) AS exposure_pct,
    i.active AS is_active,
    i.demo AS is_demo,
    greatest(v.recorded_at, v.fetched_at) AS updated_at
FROM valued AS v
JOIN stockbatch.instruments AS i ON i.id = v.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = v.session;

COMMENT ON VIEW bi.portfolios IS 'One row per portfolio and ticker that it holds now, at the last close there is.';
COMMENT ON COLUMN bi.portfolios.session IS 'session of that close; NULL: there is none';
COMMENT ON COLUMN bi.portfolios.session_close_at IS 'when that session closed';
COMMENT ON COLUMN bi.portfolios.portfolio IS 'name of the portfolio';
COMMENT ON COLUMN bi.portfolios.ticker IS 'ticker held';
COMMENT ON COLUMN bi.portfolios.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.portfolios.calendar IS 'exchange calendar code, the same for all of a portfolio';
COMMENT ON COLUMN bi.portfolios.currency IS 'ISO 4217 code of its prices, the same for all of a portfolio; NULL: unknown';
COMMENT ON COLUMN bi.portfolios.from_day IS 'day of the statement that counts';
COMMENT ON COLUMN bi.portfolios.stated_quantity IS 'units by that statement; below 0: owed';
COMMENT ON COLUMN bi.portfolios.quantity IS 'the same after the splits since';
COMMENT ON COLUMN bi.portfolios.close IS 'last close';
COMMENT ON COLUMN bi.portfolios.value IS 'quantity x close, in the currency';
COMMENT ON COLUMN bi.portfolios.exposure_pct IS 'value in percent of the gross exposure, the sum of the absolute values of the portfolio; below 0: owed';
COMMENT ON COLUMN bi.portfolios.is_active IS 'false: removed from the watchlist, so that the portfolio has no forecast';
COMMENT ON COLUMN bi.portfolios.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.portfolios.updated_at IS 'when the statement or the close came';
