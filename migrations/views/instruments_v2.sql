CREATE VIEW bi.instruments AS
SELECT
    ticker,
    name,
    currency,
    calendar,
    asset_class,
    sector,
    industry,
    active AS is_active,
    demo AS is_demo,
    active_since
FROM stockbatch.instruments;

COMMENT ON VIEW bi.instruments IS 'One row per ticker ever put on the watchlist. A dimension: join on ticker.';
COMMENT ON COLUMN bi.instruments.ticker IS 'ticker';
COMMENT ON COLUMN bi.instruments.name IS 'long name';
COMMENT ON COLUMN bi.instruments.currency IS 'ISO 4217 code of its prices';
COMMENT ON COLUMN bi.instruments.calendar IS 'its exchange, as the code of an exchange calendar, e.g. XNYS';
COMMENT ON COLUMN bi.instruments.asset_class IS 'equity, index, currency, crypto, …';
COMMENT ON COLUMN bi.instruments.sector IS 'sector, in the words of the list it is from';
COMMENT ON COLUMN bi.instruments.industry IS 'industry, likewise';
COMMENT ON COLUMN bi.instruments.is_active IS 'on the watchlist; false: only its history is left';
COMMENT ON COLUMN bi.instruments.is_demo IS 'demonstration data, in no metric of a calendar';
COMMENT ON COLUMN bi.instruments.active_since IS 'when it was last put on the watchlist';
