CREATE VIEW bi.alerts AS
SELECT
    coalesce(a.session, (a.raised_at AT TIME ZONE 'UTC')::date) AS session,
    s.close_at AS session_close_at,
    a.id AS alert_id,
    a.condition,
    a.subject,
    a.message,
    a.observed,
    a.threshold,
    a.cleared_at IS NULL AS is_open,
    a.raised_at,
    a.cleared_at,
    extract(epoch FROM a.cleared_at - a.raised_at)::double precision AS duration_seconds,
    m.messages::integer AS messages,
    m.undelivered::integer AS undelivered,
    m.failure AS delivery_failure,
    greatest(a.updated_at, m.tried_at) AS updated_at
FROM stockbatch.alerts AS a
LEFT JOIN stockbatch.sessions AS s ON s.calendar = a.subject AND s.session = a.session
CROSS JOIN LATERAL (
    SELECT
        count(*) AS messages,
        count(*) FILTER (WHERE delivered_at IS NULL) AS undelivered,
        max(failure) AS failure,
        max(tried_at) AS tried_at
    FROM stockbatch.alert_messages WHERE alert_id = a.id
) AS m;

COMMENT ON VIEW bi.alerts IS
    'One row per time something watched went wrong, until it was right again.';
COMMENT ON COLUMN bi.alerts.session IS 'session it was first seen at, or the day where it concerns none';
COMMENT ON COLUMN bi.alerts.session_close_at IS 'instant that session closed; NULL where it concerns none';
COMMENT ON COLUMN bi.alerts.alert_id IS 'alert';
COMMENT ON COLUMN bi.alerts.condition IS 'missed_deadline, failed_run, low_data_coverage, interval_coverage, negative_skill, provider_quota, or test';
COMMENT ON COLUMN bi.alerts.subject IS 'exchange calendar code it is about';
COMMENT ON COLUMN bi.alerts.message IS 'what was seen last, in words';
COMMENT ON COLUMN bi.alerts.observed IS 'value seen last';
COMMENT ON COLUMN bi.alerts.threshold IS 'limit it broke';
COMMENT ON COLUMN bi.alerts.is_open IS 'it still holds';
COMMENT ON COLUMN bi.alerts.raised_at IS 'when it was first seen';
COMMENT ON COLUMN bi.alerts.cleared_at IS 'when it was gone; NULL: it still holds';
COMMENT ON COLUMN bi.alerts.duration_seconds IS 'from raised_at to cleared_at; NULL: it still holds';
COMMENT ON COLUMN bi.alerts.messages IS 'messages it caused: one per channel when raised, one when cleared';
COMMENT ON COLUMN bi.alerts.undelivered IS 'messages that have not got through yet';
COMMENT ON COLUMN bi.alerts.delivery_failure IS 'why one of them has not; NULL: none failed';
COMMENT ON COLUMN bi.alerts.updated_at IS 'last change of the row';
