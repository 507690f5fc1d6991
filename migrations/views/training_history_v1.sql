CREATE VIEW bi.training_history AS
SELECT
    m.last_session AS session,
    s.close_at AS session_close_at,
    m.calendar,
    m.kind AS model_kind,
    i.ticker,
    m.demo AS is_demo,
    m.id AS model_id,
    m.parent_id AS base_model_id,
    m.first_session,
    m.tickers,
    m.reason,
    m.verdict,
    e.epoch::integer AS epoch,
    e.training_loss,
    e.validation_loss,
    e.validation_loss - e.training_loss AS generalisation_gap,
    e.epoch = m.best_epoch AS is_best_epoch,
    m.initial_loss AS initial_validation_loss,
    m.comparison_loss,
    m.base_loss AS base_comparison_loss,
    m.champion_loss AS champion_comparison_loss,
    100 * m.gain / nullif(m.base_loss, 0) AS gain_pct,
    100 * m.gain_error / nullif(m.base_loss, 0) AS gain_error_pct,
    m.trained_at AS updated_at
FROM stockbatch.models AS m
JOIN stockbatch.training_curves AS c ON c.model_id = m.id
CROSS JOIN LATERAL unnest(c.training_loss, c.validation_loss) WITH ORDINALITY
    AS e (training_loss, validation_loss, epoch)
LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = m.calendar AND s.session = m.last_session;

COMMENT ON VIEW bi.training_history IS
    'One row per trained model and epoch: how training went, and what became of the model. Losses are pinball losses of returns in units of their volatility.';
COMMENT ON COLUMN bi.training_history.session IS 'last session the model learned from';
COMMENT ON COLUMN bi.training_history.session_close_at IS 'instant that session closed';
COMMENT ON COLUMN bi.training_history.calendar IS 'exchange calendar code';
COMMENT ON COLUMN bi.training_history.model_kind IS 'base: one model for all tickers of the calendar; ticker: fine-tuned from it';
COMMENT ON COLUMN bi.training_history.ticker IS 'ticker; NULL for a base model';
COMMENT ON COLUMN bi.training_history.is_demo IS 'trained on demonstration data';
COMMENT ON COLUMN bi.training_history.model_id IS 'model';
COMMENT ON COLUMN bi.training_history.base_model_id IS 'base model it started from; NULL for a base model';
COMMENT ON COLUMN bi.training_history.first_session IS 'first session its inputs look back on';
COMMENT ON COLUMN bi.training_history.tickers IS 'tickers it learned from';
COMMENT ON COLUMN bi.training_history.reason IS 'why it was trained';
COMMENT ON COLUMN bi.training_history.verdict IS 'promoted: put into use; base_kept, champion_kept: what was better';
COMMENT ON COLUMN bi.training_history.epoch IS 'pass over the data, from 1';
COMMENT ON COLUMN bi.training_history.training_loss IS 'loss on the sessions it was fitted to, dropout included';
COMMENT ON COLUMN bi.training_history.validation_loss IS 'loss on newer sessions, which stop the training';
COMMENT ON COLUMN bi.training_history.generalisation_gap IS 'validation_loss - training_loss; growing from epoch to epoch: overfitting';
COMMENT ON COLUMN bi.training_history.is_best_epoch IS 'the weights of this epoch were kept; of a model without such an epoch, those it started from';
COMMENT ON COLUMN bi.training_history.initial_validation_loss IS 'validation_loss before the first epoch';
COMMENT ON COLUMN bi.training_history.comparison_loss IS 'loss on the newest sessions, which chose between models; NULL: too few, or a base model';
COMMENT ON COLUMN bi.training_history.base_comparison_loss IS 'the same of the base model';
COMMENT ON COLUMN bi.training_history.champion_comparison_loss IS 'the same of the ticker model in use before; NULL: none to compare with';
COMMENT ON COLUMN bi.training_history.gain_pct IS 'percent by which comparison_loss is below that of the base';
COMMENT ON COLUMN bi.training_history.gain_error_pct IS 'standard error of gain_pct, paired by session';
COMMENT ON COLUMN bi.training_history.updated_at IS 'last change of the row';
