"""Risk and portfolios over REST, beside the rows of the views."""

from urllib.parse import quote

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from jobs.api.application import create
from jobs.api.listening import opened
from stockbatch.records import Kind
from stockbatch.store import tokens
from tests.support.answers import problem, same
from tests.support.ledger import bars_of, in_time, listed, store
from tests.support.market import NOW, fetch, session
from tests.support.risks import came, hold, of_group, of_portfolio, of_ticker, silent_of, tell

HOSTILE = "A/B' or 1=1 -- % ?&#<b>"


@pytest.fixture
def client(engine, settings):
    """A client of a service whose database has told three sessions of risk."""
    with Session(engine) as db:
        aaa, bbb = held = listed(db, "AAA", "B/B")
        for one in held:
            store(db, one, bars_of([session(0)], [100.0]))
        hold(db, "Ours", {aaa: 60.0, bbb: -80.0})
        hold(db, HOSTILE, {bbb: 1.0})
        for day in (-2, -1, 0):
            told = [of_portfolio("Ours", held), of_group("Energy", held), *map(of_ticker, held)]
            tell(db, *told, silent_of(HOSTILE, "no bar of B/B"), day=day)
        tell(db, of_portfolio("Ours", held, times=2), day=-1, kind=Kind.BACKTEST)
        with in_time(db):
            tell(db, of_portfolio("Ours", held, times=3), day=-1)
        came(db, "Ours", session(-1), -0.021)
        token = tokens.issue(db, "tests", requests_per_minute=1_000_000)
        db.commit()
    with opened(settings) as made:
        made.clock = lambda: NOW
        yield TestClient(create(made), headers={"Authorization": f"Bearer {token}"})


def walked(client, path, names, limit=1, **only):
    """Return all items of a list page by page; `names` maps what a page says to what is asked."""
    items, following = [], {}
    for _ in range(60):
        answer = client.get(path, params={"limit": limit} | only | following)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next"] is None:
            assert all(page[name] is None for name in names)
            return items
        following = {asked: page[name] for name, asked in names.items()}
    raise AssertionError("these pages have no end")


RISK = {"next": "before", "next_after": "after"}
IN_ORDER = (
    'ORDER BY session DESC, subject_kind COLLATE "C", subject COLLATE "C", calendar, '
    'kind COLLATE "C", level_pct::text COLLATE "C"'
)


@pytest.mark.parametrize("limit", [1, 4, 500])
def test_risk_page_by_page_is_the_view(client, engine, limit):
    rows = fetch(engine, f"SELECT * FROM bi.risk {IN_ORDER}")
    assert len(rows) == 3 * (3 * 4 + 2)  # levels of sessions and subjects, and of two more kinds
    items = walked(client, "/v1/risk", RISK, limit)
    for item, row in zip(items, rows, strict=True):
        same(item, row)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"subject_kind": "portfolio"}, "subject_kind = 'portfolio'"),
        ({"subject_kind": "sector", "subject": "Energy"}, "subject = 'Energy'"),
        ({"ticker": "B/B"}, "ticker = 'B/B'"),
        ({"kind": "live"}, "kind = 'live'"),
        ({"level": 2.5}, "level_pct = 2.5"),
        ({"from": session(0), "before": session(1)}, f"session = '{session(0)}'"),
        ({"subject": HOSTILE}, "false"),
        ({"subject": "Ours", "level": 1, "kind": "late"}, "subject = 'Ours' AND level_pct = 1"
         " AND kind = 'late'"),
    ],
)  # fmt: skip
def test_risk_of_some(client, engine, asked, where):
    rows = fetch(engine, f"SELECT * FROM bi.risk WHERE {where} {IN_ORDER}")
    assert rows or where == "false"
    told = {name: str(value) for name, value in asked.items()}
    if "before" in told:
        items = client.get("/v1/risk", params=told).json()["items"]
    else:
        items = walked(client, "/v1/risk", RISK, 2, **told)
    for item, row in zip(items, rows, strict=True):
        same(item, row)


def test_what_came_is_told_with_what_was_forecast(client):
    asked = {"subject": "Ours", "level": 5, "before": str(session(0))}
    (item,) = client.get("/v1/risk", params=asked).json()["items"]
    assert (item["value_at_risk_pct"], item["value_at_risk"]) == (2.0, 200.0)
    assert (item["actual_return_pct"], item["actual_result"]) == (-2.1, -210.0)
    assert (item["is_breach"], item["score_status"]) == (True, "scored")


def test_holdings_page_by_page_are_the_view(client, engine):
    rows = fetch(engine, "SELECT * FROM bi.portfolios ORDER BY portfolio, ticker")
    assert len(rows) == 3
    names = {"next": "after", "next_ticker": "after_ticker"}
    for item, row in zip(walked(client, "/v1/portfolios", names), rows, strict=True):
        same(item, row)
    ours = client.get("/v1/portfolios", params={"after": "Ours"}).json()["items"]
    assert [(one["ticker"], one["value"]) for one in ours] == [("AAA", 6000.0), ("B/B", -8000.0)]


@pytest.mark.parametrize("portfolio", ["Ours", HOSTILE])
def test_forecasts_of_a_portfolio_page_by_page_are_the_view(client, engine, portfolio):
    query = (
        "SELECT * FROM bi.portfolio_forecasts WHERE portfolio = :name"
        " ORDER BY session DESC, kind DESC"
    )
    rows = fetch(engine, query, name=portfolio)
    assert len(rows) == (5 if portfolio == "Ours" else 3)
    names = {"next": "before", "next_kind": "before_kind"}
    path = f"/v1/portfolios/{quote(portfolio, safe='')}/forecasts"
    items = walked(client, path, names)
    for item, row in zip(items, rows, strict=True):
        same(item, row)
    if portfolio == HOSTILE:
        assert {item["reason"] for item in items} == {"no bar of B/B"}
    since = client.get(path, params={"from": f"{session(1)}"}).json()["items"]
    assert {item["session"] for item in since} == {f"{session(1)}"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/risk?ticker=ZZZ", 404),
        ("/v1/risk?ticker=%00", 422),
        ("/v1/risk?subject=", 422),
        (f"/v1/risk?subject={'x' * 101}", 422),
        ("/v1/risk?subject_kind=planet", 422),
        ("/v1/risk?kind=dead", 422),
        ("/v1/risk?level=3", 422),
        ("/v1/risk?level=nan", 422),
        ("/v1/risk?from=soon", 422),
        ("/v1/risk?after=%00", 422),
        ("/v1/risk?limit=501", 422),
        ("/v1/risk?levle=5", 422),
        ("/v1/portfolios?after=%1f", 422),
        ("/v1/portfolios/Nobody/forecasts", 404),
        ("/v1/portfolios/Ours", 404),
        (f"/v1/portfolios/{'x' * 101}/forecasts", 422),
        ("/v1/portfolios/Ours/forecasts?before_kind=dead", 422),
    ],
)
def test_errors_are_problems(client, path, status):
    body = problem(client.get(path), status)
    if "Nobody" in path:
        assert "There is no portfolio 'Nobody': 'stockbatch portfolios list'" in body["detail"]


def test_any_place_to_go_on_from_is_taken(client):
    for after in ("portfolio/Ours", "'; DROP TABLE x", "\U0001f4a5", "z"):
        asked = {"before": str(session(1)), "after": after}
        assert client.get("/v1/risk", params=asked).status_code == 200
