"""What pruning takes, and what it never touches."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from jobs.care import prune
from jobs.replay.backtest import backtest
from stockbatch import database
from stockbatch.exceptions import AccessDenied, RunInProgress
from stockbatch.methods import risk
from stockbatch.records import LSTM, ModelKind, NewsItem, Reason
from stockbatch.store import instruments, lease, models, news, promotions, retention, runs
from tests.support.ledger import listed, model_of, opened
from tests.support.market import CODE, NOW, ORIGIN, dump, fetch, run, session

LEDGER = ("forecasts", "scores", "outcomes", "promotions", "training_curves", "bars", "metrics")


def trained(db, instrument, offset, *, promoted=True, **changes):
    """Train at the session `offset`; return the model's id."""
    day = session(offset)
    model = model_of(instrument and instrument.ticker, day, **changes)
    if instrument is None:
        return models.add_base(db, model, opened(db, day), demo=False).id
    ids = models.add(db, {instrument.id: model}, opened(db, day), demo=False)
    if promoted:
        promotions.put_into_use(db, ids, day, {instrument.id: model.reason})
    return ids[instrument.id]


def pruned(db):
    query = "SELECT id FROM stockbatch.models WHERE weights IS NULL"
    return set(db.scalars(text(query)))


def test_the_model_in_use_and_two_before_it_stay(db):
    one, other = listed(db, "AAA", "BBB")
    old = [trained(db, one, offset) for offset in range(5)]
    kept = trained(db, other, 0)
    dropped, size = retention.drop_weights(db, CODE, 2)
    assert pruned(db) == set(old[:2])
    assert (dropped, size > 100) == (2, True)
    assert models.champions(db, [one, other], LSTM, session(9)).keys() == {one.id, other.id}
    assert models.champions(db, [other], LSTM, session(9))[other.id].id == kept
    assert retention.drop_weights(db, CODE, 2) == (0, 0)


def test_a_model_long_in_use_stays_however_many_were_tried_since(db):
    (one,) = listed(db, "AAA")
    champion = trained(db, one, 0)
    tried = [trained(db, one, offset, promoted=False) for offset in range(1, 6)]
    retention.drop_weights(db, CODE, 1)
    assert pruned(db) == set(tried[:3])  # the last two tell how old the last attempt is
    assert models.champions(db, [one], LSTM, session(9))[one.id].id == champion
    assert models.newest(db, [one], LSTM, ModelKind.TICKER, session(9))[one.id].id == tried[-1]


def test_a_base_that_a_ticker_uses_stays(db):
    (one,) = listed(db, "AAA")
    bases = [trained(db, None, offset) for offset in range(4)]
    promotions.put_into_use(db, {one.id: bases[0]}, session(0), {one.id: Reason.SHORT_HISTORY})
    retention.drop_weights(db, CODE, 1)
    assert pruned(db) == {bases[1]}
    assert models.newest_of_calendar(db, LSTM, CODE, session(9), demo=False).id == bases[-1]


def test_kinds_and_calendars_are_apart(db):
    (one,) = listed(db, "AAA")
    kept = [trained(db, one, 0, method="garch", promoted=False), trained(db, one, 1)]
    assert retention.drop_weights(db, CODE, 1) == (0, 0)
    trained(db, one, 2)
    trained(db, one, 3)
    assert retention.drop_weights(db, "XTKS", 1) == (0, 0)
    retention.drop_weights(db, CODE, 1)
    assert pruned(db) == {kept[1]}


def test_a_pruned_model_that_is_trained_again_gets_its_weights_back(db):
    (one,) = listed(db, "AAA")
    ids = [trained(db, one, offset) for offset in range(3)]
    retention.drop_weights(db, CODE, 1)
    assert pruned(db) == {ids[0]}
    assert trained(db, one, 0, promoted=False) == ids[0]
    assert pruned(db) == set()


def test_the_job_leaves_the_ledger_alone_and_the_next_run_as_it_would_be(app, make_app, market):
    app.settings = app.settings.model_copy(
        update={"keep_retired_models": 1, "retrain_after_sessions": 1}
    )
    other = make_app(market)
    other.settings = app.settings
    for offset in range(4):
        run(app, session(offset))
        run(other, session(offset))
    before = dump(app.engine)
    (report,) = prune.prune(app)
    after = dump(app.engine)
    assert report.models > 0
    assert "retired models dropped" in str(report)
    for table in LEDGER:
        assert after[table] == before[table]
    gone = [row for row in after["models"] if row["weights"] is None]
    assert len(gone) == report.models
    assert sum(len(row["weights"]) for row in before["models"]) - report.size == sum(
        len(row["weights"]) for row in after["models"] if row["weights"] is not None
    )

    run(app, session(4))
    run(other, session(4))
    query = (
        "SELECT ticker, method, q50, q05 FROM stockbatch.forecasts JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE origin_session = :day ORDER BY 1, 2"
    )
    found, expected = (fetch(a.engine, query, day=session(4)) for a in (app, other))
    assert found == expected
    assert len(found) == 15


def test_old_news_go_after_the_days_that_are_set(app):
    app.settings = app.settings.model_copy(update={"keep_news_days": 30})
    with app.transaction() as db:
        watched = instruments.find(db, ["AAA"])
        told = [
            NewsItem(
                symbol="AAA", published_at=NOW - timedelta(days=age), title=f"{age}", source="x"
            )
            for age in (29, 31)
        ]
        news.record(db, watched, told, NOW)
    assert prune.prune_news(app) == 1
    assert fetch(app.engine, "SELECT title FROM stockbatch.news") == [{"title": "29"}]
    assert prune.prune_news(app) == 0


def test_a_run_under_way_is_not_disturbed(app):
    run(app)
    with runs.exclusive(app.engine, CODE), pytest.raises(RunInProgress):
        list(prune.prune(app))


def test_an_exchange_in_use_keeps_no_other_out(app, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL", 0.1)
    run(app)
    monkeypatch.setattr(retention, "calendars", lambda db: ["XLON", CODE, "XTKS"])
    pruned = prune.prune(app)
    with runs.exclusive(app.engine, CODE):
        assert [next(pruned).calendar, next(pruned).calendar] == ["XLON", "XTKS"]
        with pytest.raises(RunInProgress, match=CODE):
            next(pruned)


def test_backtests_go_when_asked_for_and_can_be_made_again(app):
    run(app)
    list(backtest(app, CODE, ORIGIN, session(4)))
    kinds = "SELECT kind, count(*) AS n FROM stockbatch.forecasts GROUP BY kind ORDER BY kind"
    made = fetch(app.engine, kinds)
    assert [row["kind"] for row in made] == ["backtest", "late"]
    real = fetch(app.engine, "SELECT * FROM stockbatch.forecasts WHERE kind = 'late' ORDER BY id")

    before = session(3)
    gone = prune.prune_backtests(app, before)
    assert gone.forecasts > 0
    assert gone.scores > 0
    (left,) = fetch(
        app.engine,
        "SELECT min(target_session) AS first FROM stockbatch.forecasts WHERE kind = 'backtest'",
    )
    assert left["first"] == before

    gone = prune.prune_backtests(app, None)
    assert gone.forecasts > 0
    assert fetch(app.engine, kinds) == made[1:]
    assert fetch(app.engine, "SELECT * FROM bi.accuracy WHERE kind = 'backtest'") == []
    assert fetch(app.engine, "SELECT * FROM stockbatch.forecasts ORDER BY id") == real
    list(backtest(app, CODE, ORIGIN, session(4)))
    assert fetch(app.engine, kinds) == made


def test_risk_of_backtests_goes_with_them(app, monkeypatch):
    monkeypatch.setattr(risk, "FEWEST", 60)
    run(app)
    widths = (
        "SELECT session, instrument_ids, numbers FROM stockbatch.stated"
        " WHERE measure = 'half_width'"
    )
    of_runs = fetch(app.engine, widths)
    list(backtest(app, CODE, ORIGIN, session(4)))
    kinds = "SELECT kind, count(*) AS n FROM bi.risk GROUP BY kind ORDER BY kind"
    made = fetch(app.engine, kinds)
    # Three tickers and their exchange in each session, at three levels.
    assert made == [{"kind": "backtest", "n": 60}, {"kind": "late", "n": 12}]

    assert prune.prune_backtests(app, session(3)).risk == 2 * 4
    assert fetch(app.engine, kinds) == [{"kind": "backtest", "n": 36}, {"kind": "late", "n": 12}]
    assert prune.prune_backtests(app, None).risk == 3 * 4
    assert fetch(app.engine, kinds) == made[1:]
    assert fetch(app.engine, "SELECT * FROM bi.risk_backtests WHERE kind = 'backtest'") == []
    scored = fetch(app.engine, "SELECT DISTINCT kind FROM stockbatch.risk_scores")
    assert scored == [{"kind": "late"}]

    run(app, reprocess=True)  # by scales that nothing forgotten has stated
    assert fetch(app.engine, widths) == of_runs != []
    list(backtest(app, CODE, ORIGIN, session(4)))
    assert fetch(app.engine, kinds) == made


def test_only_the_owner_deletes_backtests(app, monkeypatch):
    original = database.engine
    monkeypatch.setattr(database, "engine", lambda settings, role: original(settings, "writer"))
    with pytest.raises(AccessDenied, match="permission denied"):
        prune.prune_backtests(app, None)


def test_tables_of_the_owner_are_vacuumed_and_analyzed(app):
    run(app)
    prune.vacuum(app)
    rows = fetch(
        app.engine,
        "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'stockbatch'"
        " AND last_vacuum IS NULL AND relname <> 'alembic_version'",
    )
    assert rows == []
    with app.transaction() as db:
        assert retention.tables_to_vacuum(db) == []  # the writer owns nothing
