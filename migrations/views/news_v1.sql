CREATE VIEW bi.news AS
SELECT
    n.session,
    s.close_at AS session_close_at,
    n.id AS news_id,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    n.published_at,
    n.seen_at,
    n.assumed AS is_assumed,
    n.source,
    n.title,
    n.url,
    n.relevance,
    n.score,
    n.scored_by,
    n.recorded_at AS updated_at
FROM stockbatch.news AS n
JOIN stockbatch.instruments AS i ON i.id = n.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = n.session;

COMMENT ON VIEW bi.news IS 'One row per ticker and item of news, whoever brought it: title and link, no text.';
COMMENT ON COLUMN bi.news.session IS 'first session that closed no earlier than it was published';
COMMENT ON COLUMN bi.news.session_close_at IS 'instant that session closes; NULL: not stored';
COMMENT ON COLUMN bi.news.news_id IS 'item';
COMMENT ON COLUMN bi.news.ticker IS 'ticker it is about';
COMMENT ON COLUMN bi.news.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.news.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.news.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.news.published_at IS 'when it was published, as its source says';
COMMENT ON COLUMN bi.news.seen_at IS 'when it was first seen';
COMMENT ON COLUMN bi.news.is_assumed IS 'history of a file: taken as known since it was published';
COMMENT ON COLUMN bi.news.source IS 'who brought it first';
COMMENT ON COLUMN bi.news.title IS 'title as plain text, whatever is written in it';
COMMENT ON COLUMN bi.news.url IS 'where it stands; NULL: not stated';
COMMENT ON COLUMN bi.news.relevance IS 'how much it is about the ticker, 0 to 1; NULL: not stated';
COMMENT ON COLUMN bi.news.score IS 'how it sounds, -1 bad to 1 good; NULL: not scored';
COMMENT ON COLUMN bi.news.scored_by IS 'source or scorer that gave the score; NULL: none';
COMMENT ON COLUMN bi.news.updated_at IS 'when it was stored';
