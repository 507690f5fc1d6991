CREATE VIEW bi.sessions AS
SELECT
    session,
    calendar,
    open_at,
    close_at,
    close_at <= now() AS is_over
FROM stockbatch.sessions;

COMMENT ON VIEW bi.sessions IS
    'One row per exchange calendar and trading session, up to a month ahead of the last run. A dimension: join on calendar and session.';
COMMENT ON COLUMN bi.sessions.session IS 'trading date';
COMMENT ON COLUMN bi.sessions.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.sessions.open_at IS 'instant it opens';
COMMENT ON COLUMN bi.sessions.close_at IS 'instant it closes';
COMMENT ON COLUMN bi.sessions.is_over IS 'it has closed';
