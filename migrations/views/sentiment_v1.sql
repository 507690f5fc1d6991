CREATE VIEW bi.sentiment AS
WITH numbered AS (
    SELECT calendar, session, close_at,
        row_number() OVER (PARTITION BY calendar ORDER BY session) AS place
    FROM stockbatch.sessions
), by_session AS (
    SELECT i.ticker, i.name, i.calendar, i.demo, s.session, s.close_at, s.place,
        count(*) AS items,
        count(n.score) AS scored,
        sum(n.score) AS total,
        sum(n.score * n.score) AS squares,
        avg(n.score) AS mean_score,
        stddev_samp(n.score) AS score_spread,
        max(n.recorded_at) AS updated_at
    FROM stockbatch.news AS n
    JOIN stockbatch.instruments AS i ON i.id = n.instrument_id
    JOIN numbered AS s ON s.calendar = i.calendar AND s.session = n.session
    GROUP BY i.ticker, i.name, i.calendar, i.demo, s.session, s.close_at, s.place
), before AS (
    -- Sessions without news have no row: they are told by their places, from the first item on.
    SELECT *,
        least(60, place - min(place) OVER (PARTITION BY ticker)) AS sessions_before,
        sum(items) OVER past AS items_before,
        sum(scored) OVER past AS scored_before,
        sum(total) OVER past AS total_before,
        sum(squares) OVER past AS squares_before
    FROM by_session
    WINDOW past AS (PARTITION BY ticker ORDER BY place RANGE BETWEEN 60 PRECEDING AND 1 PRECEDING)
), usual AS (
    SELECT *,
        CASE WHEN sessions_before >= 20
            THEN (coalesce(items_before, 0) / sessions_before)::float8 END AS usual_items,
        CASE WHEN scored_before >= 20 THEN total_before / scored_before::float8 END AS usual_score,
        CASE WHEN scored_before >= 20 THEN sqrt(greatest(0,
            (squares_before - total_before * total_before / scored_before::float8)
            / (scored_before::float8 - 1))) END AS usual_spread
    FROM before
), compared AS (
    SELECT *,
        items / nullif(usual_items, 0) AS items_ratio,
        -- A mean of many is expected closer to the usual score than a single one.
        (mean_score - usual_score) * sqrt(scored) / nullif(usual_spread, 0) AS score_deviation
    FROM usual
)
SELECT session, close_at AS session_close_at, ticker, name, calendar, demo AS is_demo, items,
    scored, mean_score, score_spread, usual_items, usual_score, items_ratio, score_deviation,
    coalesce(items >= 3 AND (items >= 3 * usual_items OR abs(score_deviation) >= 3), false)
        AS is_unusual,
    updated_at
FROM compared;

COMMENT ON VIEW bi.sentiment IS 'One row per ticker and session with news: how many there were and how they sound, against what is usual for the ticker.';
COMMENT ON COLUMN bi.sentiment.session IS 'session whose close the news were published by, and not by that before';
COMMENT ON COLUMN bi.sentiment.session_close_at IS 'instant that session closes';
COMMENT ON COLUMN bi.sentiment.ticker IS 'ticker';
COMMENT ON COLUMN bi.sentiment.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.sentiment.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.sentiment.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.sentiment.items IS 'items of news';
COMMENT ON COLUMN bi.sentiment.scored IS 'those of them that have a score';
COMMENT ON COLUMN bi.sentiment.mean_score IS 'mean of the scores, -1 bad to 1 good; NULL: none';
COMMENT ON COLUMN bi.sentiment.score_spread IS 'standard deviation of the scores; NULL: fewer than two';
COMMENT ON COLUMN bi.sentiment.usual_items IS 'items a session over the 60 sessions before; NULL: news of fewer than 20 are there';
COMMENT ON COLUMN bi.sentiment.usual_score IS 'mean score of those sessions; NULL: fewer than 20 scores';
COMMENT ON COLUMN bi.sentiment.items_ratio IS 'items as a multiple of the usual; NULL: that is not known, or none';
COMMENT ON COLUMN bi.sentiment.score_deviation IS 'standard errors of the mean score above what is usual; NULL: not known';
COMMENT ON COLUMN bi.sentiment.is_unusual IS 'three items or more, and three times the usual, or a mean score three standard errors from it';
COMMENT ON COLUMN bi.sentiment.updated_at IS 'when the last of the items was stored';
