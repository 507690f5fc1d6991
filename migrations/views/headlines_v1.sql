CREATE VIEW bi.headlines AS
SELECT
    -- The first day there is stands for the beginning.
    nullif(h.from_session, '0001-01-01') AS from_session,
    h.method,
    m.title,
    h.set_at
FROM stockbatch.headlines AS h
JOIN stockbatch.methods AS m ON m.name = h.method;

COMMENT ON VIEW bi.headlines IS
    'One row per change of the headline, the method whose forecasts are shown first. Of a session that counts which is from the latest session not after it; of several from the same one, the last set.';
COMMENT ON COLUMN bi.headlines.from_session IS 'first target session that it is shown for; NULL: from the beginning';
COMMENT ON COLUMN bi.headlines.method IS 'method shown first from then on, where it made a forecast';
COMMENT ON COLUMN bi.headlines.title IS 'what people call the method';
COMMENT ON COLUMN bi.headlines.set_at IS 'when it was decided';
