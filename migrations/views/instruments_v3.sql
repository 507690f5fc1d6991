CREATE OR REPLACE VIEW bi.instruments AS
SELECT
    i.ticker,
    i.name,
    i.currency,
    i.calendar,
    i.asset_class,
    i.sector,
    i.industry,
    i.active AS is_active,
    i.demo AS is_demo,
    i.active_since,
    -- One text, not a row per tag: a dimension has one row per ticker, whatever it is joined with.
    -- No tag has a comma in it. To filter by one of them, bi.groups has a row for each.
    (
        SELECT string_agg(l.name, ', ' ORDER BY l.name)
        FROM stockbatch.labels AS l
        WHERE l.instrument_id = i.id AND l.kind = 'tag'
    ) AS tags
FROM stockbatch.instruments AS i;

COMMENT ON COLUMN bi.instruments.tags IS 'its tags, between commas, by name; NULL: none. bi.groups has a row for each';
