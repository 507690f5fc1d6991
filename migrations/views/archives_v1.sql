CREATE VIEW bi.archives AS
SELECT
    a.calendar,
    a.first_session,
    a.through_session,
    a.part,
    array_to_string(a.methods, ', ') AS methods,
    a.forecasts,
    a.scores,
    a.bytes,
    a.folder,
    a.archived_at
FROM stockbatch.archives AS a;

COMMENT ON VIEW bi.archives IS
    'One row per exchange calendar, month and part of it of which forecasts by baselines stand in files, and no longer in the other views. No row: nothing was taken out.';
COMMENT ON COLUMN bi.archives.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.archives.first_session IS 'first target session of the month';
COMMENT ON COLUMN bi.archives.through_session IS 'last target session of the month; up to the newest one of a calendar, a forecast by these methods that lacks in a view is in the files, or was never made';
COMMENT ON COLUMN bi.archives.part IS 'number of the files; from 2 on they hold what waited for a bar when the month was archived first';
COMMENT ON COLUMN bi.archives.methods IS 'methods that were archived, by name; what charts show of them, where no other forecast was made, stays';
COMMENT ON COLUMN bi.archives.forecasts IS 'forecasts in the files';
COMMENT ON COLUMN bi.archives.scores IS 'scores in the files: one per forecast and revision of its bar';
COMMENT ON COLUMN bi.archives.bytes IS 'size of the files';
COMMENT ON COLUMN bi.archives.folder IS 'folder they were written to, as the machine that did it calls it';
COMMENT ON COLUMN bi.archives.archived_at IS 'when the rows were removed from the database';
