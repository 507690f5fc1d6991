CREATE VIEW bi.splits AS
SELECT
    a.session,
    s.close_at AS session_close_at,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    a.value AS ratio,
    CASE
        WHEN a.value >= 1 THEN 'split ' || trim_scale(round(a.value::numeric, 3)) || ' for 1'
        ELSE 'reverse split 1 for ' || trim_scale(round((1 / a.value)::numeric, 3))
    END AS split,
    a.in_prices AS is_in_prices,
    split_part(source.specification, ':', 1) AS provider,
    a.first_seen_at AS updated_at
FROM stockbatch.corporate_actions AS a
JOIN stockbatch.instruments AS i ON i.id = a.instrument_id
JOIN stockbatch.sources AS source ON source.id = a.source_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = a.session
WHERE a.kind = 'split' AND a.retracted_at IS NULL;

COMMENT ON VIEW bi.splits IS 'One row per ticker and session from which on it trades split, as far as a provider states it still.';
COMMENT ON COLUMN bi.splits.session IS 'first session at prices after the split';
COMMENT ON COLUMN bi.splits.session_close_at IS 'instant that session closes; NULL: too far ahead';
COMMENT ON COLUMN bi.splits.ticker IS 'ticker';
COMMENT ON COLUMN bi.splits.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.splits.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.splits.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.splits.ratio IS 'new shares per old one; below 1: a reverse split';
COMMENT ON COLUMN bi.splits.split IS 'the same in words, e.g. split 4 for 1, reverse split 1 for 10';
COMMENT ON COLUMN bi.splits.is_in_prices IS 'the bars of before came adjusted for it; else bi.price_and_forecast restates them';
COMMENT ON COLUMN bi.splits.provider IS 'kind of provider that states it';
COMMENT ON COLUMN bi.splits.updated_at IS 'when it was first seen';
