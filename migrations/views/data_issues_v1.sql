CREATE VIEW bi.data_issues AS
SELECT
    d.session,
    s.close_at AS session_close_at,
    d.id AS issue_id,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    d.check_name,
    d.severity,
    d.message,
    d.observed,
    d.threshold,
    d.run_id,
    d.found_at AS updated_at
FROM stockbatch.data_issues AS d
JOIN stockbatch.instruments AS i ON i.id = d.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = d.session;

COMMENT ON VIEW bi.data_issues IS
    'One row per ticker, session and check that found something in the bars.';
COMMENT ON COLUMN bi.data_issues.session IS 'session of the bar; NULL: the whole series';
COMMENT ON COLUMN bi.data_issues.session_close_at IS 'instant that session closed';
COMMENT ON COLUMN bi.data_issues.issue_id IS 'finding';
COMMENT ON COLUMN bi.data_issues.ticker IS 'ticker';
COMMENT ON COLUMN bi.data_issues.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.data_issues.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.data_issues.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.data_issues.check_name IS 'check that found it';
COMMENT ON COLUMN bi.data_issues.severity IS 'warning (the bar was kept), quarantined (set aside) or rejected';
COMMENT ON COLUMN bi.data_issues.message IS 'what was seen, in words';
COMMENT ON COLUMN bi.data_issues.observed IS 'value seen';
COMMENT ON COLUMN bi.data_issues.threshold IS 'limit it broke';
COMMENT ON COLUMN bi.data_issues.run_id IS 'run that found it; NULL: none did';
COMMENT ON COLUMN bi.data_issues.updated_at IS 'when it was found';
