CREATE VIEW bi.outcomes AS
SELECT
    o.session,
    s.close_at AS session_close_at,
    i.ticker,
    i.name,
    i.calendar,
    i.demo AS is_demo,
    o.action,
    o.reason,
    o.message,
    o.try_number AS tries,
    o.seconds AS duration_seconds,
    o.run_id,
    o.recorded_at AS updated_at
FROM stockbatch.outcomes AS o
JOIN stockbatch.instruments AS i ON i.id = o.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = o.session
WHERE o.is_final;

COMMENT ON VIEW bi.outcomes IS
    'One row per ticker and session: what the daily job did for it in the end, and why.';
COMMENT ON COLUMN bi.outcomes.session IS 'session whose bar the job added and forecast from';
COMMENT ON COLUMN bi.outcomes.session_close_at IS 'instant that session closed';
COMMENT ON COLUMN bi.outcomes.ticker IS 'ticker';
COMMENT ON COLUMN bi.outcomes.name IS 'long name of the instrument';
COMMENT ON COLUMN bi.outcomes.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.outcomes.is_demo IS 'demonstration data';
COMMENT ON COLUMN bi.outcomes.action IS 'trained, reused, base (base model only), naive (baselines only) or none (no forecast)';
COMMENT ON COLUMN bi.outcomes.reason IS 'why, as a code, e.g. fresh, expired, short_history, no_bar';
COMMENT ON COLUMN bi.outcomes.message IS 'more about it, in words';
COMMENT ON COLUMN bi.outcomes.tries IS 'how many tries it took; only the last is shown';
COMMENT ON COLUMN bi.outcomes.duration_seconds IS 'its share of the time its batch took';
COMMENT ON COLUMN bi.outcomes.run_id IS 'run that did it';
COMMENT ON COLUMN bi.outcomes.updated_at IS 'last change of the row';
