CREATE VIEW bi.events AS
SELECT
    e.session,
    s.close_at AS session_close_at,
    e.id AS event_id,
    i.ticker,
    i.name,
    coalesce(e.calendar, i.calendar) AS calendar,
    coalesce(i.demo, false) AS is_demo,
    e.kind,
    e.date AS event_date,
    e.timing,
    CASE
        WHEN e.kind <> 'earnings' THEN replace(e.kind, '_', ' ')
        WHEN e.projected THEN 'may report by the rhythm of past years'
        ELSE 'reports'
    END || CASE e.timing
        WHEN 'before_open' THEN ' before the open'
        WHEN 'during' THEN ' during the session'
        WHEN 'after_close' THEN ' after the close'
        ELSE CASE WHEN e.projected THEN '' ELSE ', hour unknown' END
    END AS event,
    e.source,
    e.known_at,
    e.assumed AS is_assumed,
    e.projected AS is_projected,
    e.withdrawn_at,
    -- Sources that state the same event some days apart are told apart as forecasts do it: stated
    -- before projected, seen ahead before assumed, an hour before none, then the newest.
    e.withdrawn_at IS NULL AND NOT EXISTS (
        SELECT FROM stockbatch.events AS o
        WHERE o.instrument_id = e.instrument_id AND o.kind = e.kind
            AND o.date BETWEEN e.date - 5 AND e.date + 5
            AND o.withdrawn_at IS NULL
            AND (o.projected, o.assumed, o.timing = 'unknown', e.known_at, e.id)
                < (e.projected, e.assumed, e.timing = 'unknown', o.known_at, o.id)
    ) AS is_current,
    greatest(e.recorded_at, e.withdrawn_at) AS updated_at
FROM stockbatch.events AS e
LEFT JOIN stockbatch.instruments AS i ON i.id = e.instrument_id
LEFT JOIN stockbatch.sessions AS s
    ON s.calendar = coalesce(e.calendar, i.calendar) AND s.session = e.session;

COMMENT ON VIEW bi.events IS
    'One row per event and version of what one source states of it: a date that moves keeps its versions.';
COMMENT ON COLUMN bi.events.session IS 'session whose return it moves';
COMMENT ON COLUMN bi.events.session_close_at IS 'instant that session closes; NULL: too far ahead';
COMMENT ON COLUMN bi.events.event_id IS 'version';
COMMENT ON COLUMN bi.events.ticker IS 'ticker; NULL: all of the calendar';
COMMENT ON COLUMN bi.events.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.events.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.events.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.events.kind IS 'earnings, or what else its source calls it';
COMMENT ON COLUMN bi.events.event_date IS 'day of it, by the clock of the exchange';
COMMENT ON COLUMN bi.events.timing IS 'before_open, during, after_close or unknown';
COMMENT ON COLUMN bi.events.event IS 'what it is, in words';
COMMENT ON COLUMN bi.events.source IS 'who states it';
COMMENT ON COLUMN bi.events.known_at IS 'first seen, or since when it was known as its source says';
COMMENT ON COLUMN bi.events.is_assumed IS 'seen only after the fact: known some sessions ahead by assumption';
COMMENT ON COLUMN bi.events.is_projected IS 'nobody has stated it: a guess from dates of the past';
COMMENT ON COLUMN bi.events.withdrawn_at IS 'when its source no longer stated it, or otherwise; NULL: it does';
COMMENT ON COLUMN bi.events.is_current IS 'stated still, and of what several sources state of the same event what counts';
COMMENT ON COLUMN bi.events.updated_at IS 'last change of the row';
