-- Who is in what, each membership a row, so that any tool can filter by a group of any kind with one
-- join. Sector and industry stay columns of the ticker: it has one of each.
CREATE VIEW bi.groups AS
SELECT 'exchange' AS group_kind, calendar AS group_name, ticker
FROM stockbatch.instruments
UNION ALL
SELECT 'sector', sector, ticker
FROM stockbatch.instruments
WHERE sector IS NOT NULL
UNION ALL
SELECT 'industry', industry, ticker
FROM stockbatch.instruments
WHERE industry IS NOT NULL
UNION ALL
SELECT l.kind, l.name, i.ticker
FROM stockbatch.labels AS l
JOIN stockbatch.instruments AS i ON i.id = l.instrument_id;

COMMENT ON VIEW bi.groups IS 'One row per group and ticker in it, removed tickers too. A bridge: join on ticker, and filter by one group, or rows repeat.';
COMMENT ON COLUMN bi.groups.group_kind IS 'exchange, sector, industry, tag or watchlist; a named watchlist is for looking at, what is fetched and forecast is is_active of bi.instruments';
COMMENT ON COLUMN bi.groups.group_name IS 'name of the group within its kind; of an exchange the code of its calendar';
COMMENT ON COLUMN bi.groups.ticker IS 'ticker in it';
