CREATE VIEW bi.run_history AS
SELECT
    r.session,
    s.close_at AS session_close_at,
    r.id AS run_id,
    r.calendar,
    r.attempt,
    r.trigger,
    r.status,
    r.started_at,
    r.finished_at,
    extract(epoch FROM r.finished_at - r.started_at)::double precision AS duration_seconds,
    r.instruments,
    r.trained,
    r.reused,
    r.base,
    r.naive,
    r.none,
    r.message,
    r.code_version,
    coalesce(r.finished_at, r.heartbeat_at) AS updated_at
FROM stockbatch.runs AS r
LEFT JOIN stockbatch.sessions AS s ON s.calendar = r.calendar AND s.session = r.session;

COMMENT ON VIEW bi.run_history IS
    'One row per calendar, session and attempt: an execution of the daily job.';
COMMENT ON COLUMN bi.run_history.session IS 'session whose bars the run added and forecast from';
COMMENT ON COLUMN bi.run_history.session_close_at IS 'instant that session closed';
COMMENT ON COLUMN bi.run_history.run_id IS 'run';
COMMENT ON COLUMN bi.run_history.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.run_history.attempt IS '1; more where a session was processed again';
COMMENT ON COLUMN bi.run_history.trigger IS 'what started it';
COMMENT ON COLUMN bi.run_history.status IS 'running, finished or failed';
COMMENT ON COLUMN bi.run_history.started_at IS 'first start';
COMMENT ON COLUMN bi.run_history.finished_at IS 'end; NULL: not finished';
COMMENT ON COLUMN bi.run_history.duration_seconds IS 'from first start to end, pauses after a kill included';
COMMENT ON COLUMN bi.run_history.instruments IS 'tickers with a final outcome';
COMMENT ON COLUMN bi.run_history.trained IS 'tickers whose model was newly trained';
COMMENT ON COLUMN bi.run_history.reused IS 'tickers whose model was reused';
COMMENT ON COLUMN bi.run_history.base IS 'tickers that could not be trained, forecast with the base model';
COMMENT ON COLUMN bi.run_history.naive IS 'tickers with baseline forecasts only';
COMMENT ON COLUMN bi.run_history.none IS 'tickers without a forecast';
COMMENT ON COLUMN bi.run_history.message IS 'why the run failed';
COMMENT ON COLUMN bi.run_history.code_version IS 'version of the program';
COMMENT ON COLUMN bi.run_history.updated_at IS 'last change of the row';
