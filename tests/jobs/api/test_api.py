"""The REST service over a real database with real forecasts, by a real HTTP client."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from functools import partial

import httpx2 as httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from sqlalchemy import text
from starlette.testclient import TestClient

from jobs import watchlist
from jobs.api.application import create
from jobs.api.listening import listen, opened
from jobs.api.schemas import LARGEST_BODY, MOST_BARS
from jobs.api.surroundings import Surroundings
from stockbatch import database
from stockbatch.config import Address
from stockbatch.exceptions import ConfigurationError, DatabaseUnavailable, RoleNotAllowed
from stockbatch.records import Event, GroupKind, Timing
from stockbatch.store import events, instruments, tokens
from tests.support.answers import problem, same
from tests.support.market import (
    NOW,
    ORIGIN,
    RETRAIN_AFTER,
    Market,
    dump,
    fetch,
    run,
    session,
)
from tests.support.places import ROOT

SPLIT, DIVIDEND, WALK = 3, 8, 12
"""Sessions after ORIGIN with a split and a dividend of AAA, and the last session run."""


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    market = Market(tmp_path_factory.mktemp("market") / "market.csv")
    for ticker in ("DDD", "EEE", "B/F"):
        market.list(ticker)
    market.split("AAA", 2, session(SPLIT))
    market.dividend("AAA", 0.5, session(DIVIDEND))
    market.drop("BBB", session(-40), session(-41))
    return market


@pytest.fixture(scope="module")
def stored(make_lasting_app, market):
    """An App that has run some sessions."""
    app = make_lasting_app(market)
    watchlist.tag(app, ["AAA", "CCC"], [(GroupKind.SECTOR, "Energy")])
    for offset in range(WALK + 1):
        run(app, session(offset))
    with app.transaction() as db:
        report = partial(Event, symbol="BBB")
        told = [
            report(date=session(WALK), timing=Timing.AFTER_CLOSE),
            report(date=session(WALK + 1), kind="index_change"),
            *(report(date=session(day)) for day in (-50, -110, 70)),
        ]
        (bbb,) = instruments.find(db, ["BBB"])
        events.record(db, [bbb], told, "import", NOW)
        events.record(db, [bbb], told[2:3], "yahoo", NOW)
    return app


@pytest.fixture(scope="module")
def token(stored):
    with stored.transaction() as db:
        return tokens.issue(db, "tests", requests_per_minute=1_000_000)


class Timer:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def timer():
    return Timer()


@pytest.fixture(scope="module")
def api(stored, timer):
    """The application as it is served, with clocks of its own."""
    with opened(stored.settings) as made:
        yield create(
            Surroundings(
                settings=stored.settings, engine=made.engine, clock=lambda: NOW, timer=timer
            )
        )


@pytest.fixture
def client(api, timer, token):
    timer.now += 10  # whatever a test before did is read again
    headers = {"Authorization": f"Bearer {token}"}
    return TestClient(api, headers=headers, raise_server_exceptions=False)


def question(market, ticker, last, *, actions=True):
    """Return what a client sends to be told the forecast from `last`."""
    bars = [
        {
            "session": f"{day}",
            **{name: bar[name] for name in ("open", "high", "low", "close", "volume")},
        }
        for day, bar in market.bars[ticker].items()
        if day <= last
    ]
    went_ex = []
    for day, bar in market.bars[ticker].items():
        if actions and day <= last:
            split, dividend = bar["split_coefficient"], bar["dividend_amount"]
            if split != 1:
                went_ex.append({"session": f"{day}", "kind": "split", "value": split})
            if dividend:
                went_ex.append({"session": f"{day}", "kind": "dividend", "value": dividend})
    return {"ticker": ticker, "bars": bars, "actions": went_ex}


def test_latest_forecasts_are_those_of_the_view(client, stored):
    answer = client.get("/v1/forecasts").json()
    rows = fetch(
        stored.engine,
        "SELECT * FROM bi.next_session_forecast WHERE is_headline ORDER BY ticker",
    )
    assert len(rows) == 6
    assert {row["method"] for row in rows} == {"combined"}
    assert answer["next"] is None
    assert len(answer["items"]) == len(rows)
    for item, row in zip(answer["items"], rows, strict=True):
        same(item, row)


def test_the_most_unusual_come_first_page_by_page(client, stored):
    query = (
        "SELECT ticker, why FROM bi.next_session_forecast WHERE is_headline"
        " ORDER BY move_ratio DESC NULLS LAST, ticker"
    )
    rows = fetch(stored.engine, query)
    items, after = [], ""
    for _ in range(3):
        options = {"order": "most_unusual", "limit": 2, "after": after}
        page = client.get("/v1/forecasts", params=options).json()
        items += page["items"]
        after = page["next"]
    assert after is None
    assert [{"ticker": item["ticker"], "why": item["why"]} for item in items] == rows
    assert client.get("/v1/forecasts", params={"order": "luckiest"}).status_code == 422


@pytest.mark.parametrize("path", ["B/F", "B%2FF"])
def test_one_ticker_by_every_method(client, stored, path):
    items = client.get(f"/v1/forecasts/{path}").json()["items"]
    query = "SELECT * FROM bi.next_session_forecast WHERE ticker = 'B/F' ORDER BY method"
    rows = fetch(stored.engine, query)
    assert {row["method"] for row in rows} >= {"lstm", "naive", "rolling_quantile"}
    for item, row in zip(items, rows, strict=True):
        same(item, row)


def test_history_page_by_page_is_the_view(client, stored):
    query = (
        "SELECT * FROM bi.forecast_history WHERE ticker = 'AAA' AND method = 'naive'"
        " ORDER BY session DESC"
    )
    rows = fetch(stored.engine, query)
    items, before = [], None
    for _ in range(20):
        options = {"method": "naive", "limit": 5} | ({"before": before} if before else {})
        page = client.get("/v1/history/AAA", params=options).json()
        assert len(page["items"]) <= 5
        items += page["items"]
        before = page["next"]
        if before is None:
            break
    assert len(rows) == WALK + 1
    for item, row in zip(items, rows, strict=True):
        same(item, row)
    first = client.get("/v1/history/AAA", params={"from": f"{session(5)}"}).json()["items"]
    assert first[-1]["session"] == f"{session(5)}"


def test_events_page_by_page_are_the_view(client, stored):
    query = "SELECT * FROM bi.events WHERE ticker = 'BBB' ORDER BY session DESC, event_id DESC"
    rows = fetch(stored.engine, query)
    assert [row["is_current"] for row in rows].count(False) == 1  # of two sources one counts
    assert len({row["session"] for row in rows}) < len(rows) == 6
    items, page = [], {"next": None}
    for _ in range(len(rows)):
        options = {"limit": 1}
        if page["next"]:
            options |= {"before": page["next"], "before_id": page["next_id"]}
        page = client.get("/v1/events/BBB", params=options).json()
        items += page["items"]
    assert (page["next"], page["next_id"]) == (None, None)
    for item, row in zip(items, rows, strict=True):
        same(item, row)

    def sessions(**span):
        found = client.get("/v1/events/BBB", params={k: str(v) for k, v in span.items()})
        return [item["session"] for item in found.json()["items"]]

    kept = [str(row["session"]) for row in rows]
    assert sessions(**{"from": session(WALK + 1)}) == kept[:3]
    assert sessions(before=session(WALK + 1)) == kept[3:]
    assert client.get("/v1/events/CCC").json() == {"items": [], "next": None, "next_id": None}


def test_a_forecast_says_what_is_known_to_move_its_session(client):
    items = client.get("/v1/forecasts").json()["items"]
    assert {item["ticker"]: item["event"] for item in items if item["event"]} == {
        "BBB": "reports after the close"
    }


def test_pages_neither_repeat_nor_hide_when_rows_are_added(stored, client, timer):
    first = client.get("/v1/forecasts", params={"limit": 3}).json()
    assert [item["ticker"] for item in first["items"]] == ["AAA", "B/F", "BBB"]
    with stored.transaction() as db:
        db.execute(text("UPDATE stockbatch.instruments SET active = false WHERE ticker = 'AAA'"))
    timer.now += 2
    rest = client.get("/v1/forecasts", params={"limit": 3, "after": first["next"]}).json()
    with stored.transaction() as db:
        db.execute(text("UPDATE stockbatch.instruments SET active = true WHERE ticker = 'AAA'"))
    assert [item["ticker"] for item in rest["items"]] == ["CCC", "DDD", "EEE"]
    assert rest["next"] is None


def test_accuracy_of_a_ticker_and_of_the_calendar(client, stored):
    for path, where in (("/AAA", "ticker = 'AAA'"), ("", "scope = 'calendar'")):
        items = client.get(f"/v1/accuracy{path}", params={"window": 20}).json()["items"]
        query = (
            f"SELECT * FROM bi.accuracy WHERE {where} AND window_sessions = 20 AND session ="
            " (SELECT max(session) FROM bi.accuracy) ORDER BY calendar, kind, metric, method"
        )
        rows = fetch(stored.engine, query)
        assert len(rows) > 20
        for item, row in zip(items, rows, strict=True):
            same(item, row | {"group": None})


def test_a_group_is_asked_for_by_its_name(client, stored):
    whole = {item["ticker"]: item for item in client.get("/v1/forecasts").json()["items"]}
    items, after = [], ""
    for _ in range(2):
        page = client.get(
            "/v1/forecasts", params={"group": "sector:energy", "limit": 1, "after": after}
        ).json()
        items += page["items"]
        after = page["next"]
    assert items == [whole["AAA"], whole["CCC"]]
    assert after is None
    told = client.get("/v1/accuracy", params={"group": "Energy", "window": 20}).json()["items"]
    rows = fetch(
        stored.engine,
        "SELECT * FROM bi.group_accuracy WHERE group_name = 'Energy' AND window_sessions = 20",
    )
    found = {(one["method"], one["kind"], one["metric"]): one for one in told}
    assert len(rows) > 3
    for row in rows:
        key = row["method"], row["kind"]
        point = found[*key, "mae_return"]
        assert (point["group"], point["ticker"], point["n"]) == ("sector:Energy", None, row["n"])
        assert point["value"] == pytest.approx(row["mae_return"])
        if row["pinball"] is None:
            assert (*key, "pinball") not in found
            continue
        skill = found[*key, "pinball"]["skill_pct"]
        assert skill == pytest.approx(row["skill_vs_rolling_quantile_pct"])
        coverage = found[*key, "coverage_80"]["value"]
        assert coverage == pytest.approx(row["coverage_80_pct"] / 100)


def test_an_exchange_is_a_group_too(client):
    for path in ("/v1/forecasts", "/v1/accuracy"):
        whole = client.get(path, params={"window": 20} if path.endswith("y") else {}).json()
        params = {"group": "xnys"} | ({"window": 20} if path.endswith("y") else {})
        assert client.get(path, params=params).json() == whole


@pytest.mark.parametrize("path", ["/v1/forecasts", "/v1/accuracy"])
def test_an_unknown_group_is_told_with_what_may_be_meant(client, path):
    body = problem(client.get(path, params={"group": "Enegry"}), 404)
    assert "There is no group 'Enegry' (did you mean 'Energy'?)" in body["detail"]
    problem(client.get(path, params={"group": ""}), 422)
    problem(client.get(path, params={"group": "x" * 1000}), 422)


def test_models_in_use(client, stored):
    items = client.get("/v1/models").json()["items"]
    assert [item["ticker"] for item in items] == ["AAA", "B/F", "BBB", "CCC", "DDD", "EEE"]
    one = client.get("/v1/models/CCC").json()
    assert one == items[3]
    (row,) = fetch(
        stored.engine, "SELECT * FROM stockbatch.models WHERE id = :id", id=one["model_id"]
    )
    assert one["weights_sha256"] == row["weights_sha256"]
    assert one["parameters"]["units"] == 3
    assert "weights" not in one


@pytest.mark.parametrize("ticker", ["AAA", "BBB", "B/F"])
@pytest.mark.parametrize("offset", [0, SPLIT, RETRAIN_AFTER, DIVIDEND, WALK])
def test_a_prediction_is_the_stored_forecast_of_the_same_bars(
    client, stored, market, ticker, offset
):
    answer = client.post("/v1/predict", json=question(market, ticker, session(offset)))
    assert answer.status_code == 200, answer.text
    (row,) = fetch(
        stored.engine,
        "SELECT * FROM bi.forecast_history"
        " WHERE ticker = :ticker AND method = 'lstm' AND origin_session = :origin",
        ticker=ticker,
        origin=session(offset),
    )
    body = answer.json()
    only_here = {"model_kind", "model_last_session", "market_through", "remarks"}
    assert body["market_through"] == f"{session(offset)}"
    assert body["model_last_session"] <= f"{session(offset)}"
    same({name: value for name, value in body.items() if name not in only_here}, row)


def test_other_bars_make_another_prediction(client, market):
    asked = question(market, "AAA", session(WALK))
    honest = client.post("/v1/predict", json=asked).json()
    asked["bars"][-1]["close"] = asked["bars"][-1]["low"]
    changed = client.post("/v1/predict", json=asked).json()
    assert changed["volatility_pct"] != honest["volatility_pct"]
    silent = question(market, "AAA", session(SPLIT), actions=False)
    remarks = client.post("/v1/predict", json=silent).json()["remarks"]
    assert [r["check"] for r in remarks if r["session"] == f"{session(SPLIT)}"] == ["jump_pending"]


def test_predicting_writes_nothing(client, stored, market):
    before = dump(stored.engine)
    assert client.post("/v1/predict", json=question(market, "AAA", ORIGIN)).status_code == 200
    assert dump(stored.engine) == before


def _bar(change):
    return lambda asked: asked["bars"][-1].update(change)


HOSTILE = {
    "no bars": lambda asked: asked.update(bars=[]),
    "too many bars": lambda asked: asked.update(bars=asked["bars"][:1] * (MOST_BARS + 1)),
    "unknown key": lambda asked: asked.update(model_id=1),
    "high below low": _bar({"high": 0.5}),
    "negative price": _bar({"open": -1}),
    "zero price": _bar({"close": 0}),
    "huge price": _bar({"high": 1e308, "close": 1e308, "low": 1e-308}),
    "price as text": _bar({"close": "1"}),
    "price as truth": _bar({"close": True}),
    "not a number": _bar({"close": float("nan")}),
    "infinity": _bar({"volume": float("inf")}),
    "session as number": _bar({"session": 0}),
    "session as instant": _bar({"session": "2024-06-03T00:00:00Z"}),
    "no date": _bar({"session": "2024-02-30"}),
    "a Sunday": _bar({"session": "2024-06-02"}),
    "before the calendar": _bar({"session": "0001-01-01"}),
    "beyond the calendar": _bar({"session": "9999-12-31"}),
    "tomorrow": _bar({"session": "2024-12-02"}),
    "two bars of a session": lambda asked: asked["bars"].append(
        asked["bars"][-1] | {"close": asked["bars"][-1]["low"]}
    ),
    "one bar": lambda asked: asked.update(bars=asked["bars"][-1:]),
    "split of nothing": lambda asked: asked.update(
        actions=[{"session": f"{ORIGIN}", "kind": "split", "value": 0}]
    ),
    "unknown action": lambda asked: asked.update(
        actions=[{"session": f"{ORIGIN}", "kind": "merger", "value": 1}]
    ),
    "no text at all": lambda asked: asked.update(ticker=7),
    "control characters": lambda asked: asked.update(ticker="A\x00A"),
    "half a character": lambda asked: asked.update(ticker="A\ud800"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bars_are_refused_with_a_reason(client, market, name):
    asked = question(market, "AAA", ORIGIN, actions=False)
    HOSTILE[name](asked)
    answer = client.post(
        "/v1/predict", content=json.dumps(asked), headers={"Content-Type": "application/json"}
    )
    body = problem(answer, 422)
    assert body["detail"]


def test_refused_bars_are_named_with_their_session(client, market):
    asked = question(market, "AAA", ORIGIN)
    asked["bars"][3]["high"] = asked["bars"][3]["low"] / 2
    body = problem(client.post("/v1/predict", json=asked), 422)
    assert body["detail"] == "The bars of AAA were refused: 1 of them failed a check"
    (error,) = body["errors"]
    assert error["where"] == asked["bars"][3]["session"]
    assert error["what"].startswith("high_below_low: high ")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"x"', b"null", b"[]", b'{"ticker": "AAA"}'],
)
def test_hostile_bodies(client, content):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/predict", content=content, headers=headers)
    problem(answer, 422 if answer.status_code != 400 else 400)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_too_large_is_not_read(client, declared):
    def endless():
        for _ in range(LARGEST_BODY // 2**16 + 2):
            yield b" " * 2**16

    content = b" " * (LARGEST_BODY + 1) if declared else endless()
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/predict", content=content, headers=headers)
    problem(answer, 413)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/forecasts/ZZZ", 404),
        ("/v1/history/ZZZ", 404),
        ("/v1/events/ZZZ", 404),
        ("/v1/accuracy/ZZZ", 404),
        ("/v1/models/ZZZ", 404),
        ("/v1/models/A%C2%94", 404),
        ("/v1/models/%20=", 404),
        ("/v1/forecasts/", 422),
        ("/v1/forecasts/%00", 422),
        ("/v1/forecasts?limit=0", 422),
        ("/v1/forecasts?limit=501", 422),
        ("/v1/forecasts?method=oracle", 422),
        ("/v1/forecasts?after=%00", 422),
        ("/v1/history/AAA?before=yesterday", 422),
        ("/v1/history/AAA?from=0", 422),
        ("/v1/history/AAA?from=1514764800", 422),
        ("/v1/history/AAA?from=2024-W23-1", 422),
        ("/v1/events/AAA?before_id=-1", 422),
        ("/v1/events/AAA?before_id=9223372036854775808", 422),
        ("/v1/events/AAA?from=soon", 422),
        ("/v1/accuracy?window=99999999999999999999", 422),
        ("/v1/accuracy?windw=20", 422),
        ("/v1/forecasts/AAA?method=naive", 422),
        ("/v1/nothing", 404),
        ("/nothing", 404),
        ("/v1/predict", 405),
    ],
)
def test_errors_are_problems(client, path, status):
    problem(client.get(path), status)


def test_sql_in_a_ticker_is_a_ticker(client):
    body = problem(client.get("/v1/forecasts/'; DROP TABLE x; --"), 404)
    assert "is not on the watchlist" in body["detail"]


def test_a_ticker_without_a_model_has_none(make_app, tmp_path):
    market = Market(tmp_path / "market.csv", ["AAA"])
    app = make_app(market)
    with app.transaction() as db:
        headers = {"Authorization": f"Bearer {tokens.issue(db, 'a', requests_per_minute=9)}"}
    with opened(app.settings) as made:
        made.clock = lambda: NOW
        client = TestClient(create(made), headers=headers)
        assert "no trained model" in problem(client.get("/v1/models/AAA"), 404)["detail"]
        asked = question(market, "AAA", ORIGIN)
        assert "no trained model" in problem(client.post("/v1/predict", json=asked), 404)["detail"]
        assert client.get("/v1/forecasts").json() == {"items": [], "next": None}
        assert client.get("/v1/forecasts/AAA").json() == {"items": []}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer stockbatch_wrong"},
        {"Authorization": "Basic dGVzdHM6eA=="},
        {"Authorization": "Bearer \xe4".encode("latin-1")},
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        *("forecasts", "forecasts/AAA", "history/AAA", "events/AAA", "accuracy", "models"),
        *("risk", "portfolios", "portfolios/Ours/forecasts"),
    ],
)
def test_nobody_gets_in_without_a_token(api, path, headers):
    answer = TestClient(api).get(f"/v1/{path}", headers=headers)
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_nobody_predicts_without_a_token(api, market):
    problem(TestClient(api).post("/v1/predict", json=question(market, "AAA", ORIGIN)), 401)


def test_revoked_and_expired_tokens(stored, api, timer):
    soon = NOW + timedelta(seconds=30)
    with stored.transaction() as db:
        revoked = tokens.issue(db, "revoked", requests_per_minute=60)
        expired = tokens.issue(db, "expired", requests_per_minute=60, expires_at=NOW)
        lasting = tokens.issue(db, "lasting", requests_per_minute=60, expires_at=soon)
    timer.now += 2

    def ask(token):
        client = TestClient(api, headers={"Authorization": f"Bearer {token}"})
        return client.get("/v1/models")

    assert ask(revoked).status_code == ask(lasting).status_code == 200
    problem(ask(expired), 401)
    with stored.transaction() as db:
        tokens.revoke(db, "revoked")
    timer.now += 2
    problem(ask(revoked), 401)


def test_each_token_has_its_own_pace(stored, api, timer):
    with stored.transaction() as db:
        made = [tokens.issue(db, name, requests_per_minute=3) for name in ("slow", "other")]
    timer.now += 2
    slow, other = (TestClient(api, headers={"Authorization": f"Bearer {t}"}) for t in made)
    assert [slow.get("/v1/models").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = slow.get("/v1/models")
    assert "3 requests a minute" in problem(answer, 429)["detail"]
    assert answer.headers["Retry-After"] == "20"
    assert other.get("/v1/models").status_code == 200
    timer.now += 20
    assert [slow.get("/v1/models").status_code for _ in range(2)] == [200, 429]
    timer.now += 3600
    assert [slow.get("/v1/models").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_what_has_not_changed_is_not_sent_again(stored, client, timer):
    first = client.get("/v1/forecasts")
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/v1/forecasts", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
    assert client.get("/v1/forecasts", headers={"If-None-Match": '"other"'}).status_code == 200
    timer.now += 100
    assert client.get("/v1/forecasts").headers["ETag"] == tag
    with stored.transaction() as db:
        db.execute(text("UPDATE stockbatch.instruments SET name = 'A Ltd' WHERE ticker = 'AAA'"))
    timer.now += 2
    changed = client.get("/v1/forecasts", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["items"][0]["name"] == "A Ltd"


def test_the_examples_of_the_guide(client):
    guide = (ROOT / "deployment" / "guides" / "rest-and-files.md").read_text(encoding="utf-8")
    paths = re.findall(r"curl .*'http://127\.0\.0\.1:8765(\S+)'", guide)
    assert len(paths) == 10
    for path in paths:
        assert client.get(path.replace("AAPL", "AAA")).status_code == 200, path


def test_words_on_the_page_and_no_other_host(client):
    page = client.get("/docs").text
    assert "://" not in page
    description = client.get("/openapi.json").json()["info"]["description"]
    assert "Not investment advice" in description
    assert "terms of Yahoo" in description
    for file in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs-files/{file}" in page
        assert client.get(f"/docs-files/{file}").status_code == 200


PATHS = [
    *("/health", "/v1/forecasts", "/v1/forecasts/{ticker}", "/v1/history/{ticker}"),
    *(
        "/v1/events/{ticker}",
        "/v1/accuracy",
        "/v1/accuracy/{ticker}",
        "/v1/models",
        "/v1/models/{ticker}",
        "/v1/predict",
    ),
    *("/v1/risk", "/v1/portfolios", "/v1/portfolios/{portfolio}/forecasts"),
]

HAS_NO_INPUT = ("/health", GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def schema(api):
    return schemathesis.openapi.from_asgi("/openapi.json", api)


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, mode) for path in PATHS for mode in GenerationMode if (path, mode) != HAS_NO_INPUT],
)
def test_whatever_is_sent_the_answer_is_as_described(schema, client, token, path, mode):
    (operation,) = [found.ok() for found in schema.get_all_operations() if found.ok().path == path]

    @hypothesis.settings(max_examples=15, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def keeps_to_it(case):
        # A parameter without a value is not sent, and what is wrong with it is not seen.
        hypothesis.assume(all(value not in ([], {}, None) for value in (case.query or {}).values()))
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"})

    keeps_to_it()


def test_every_path_is_tried(schema):
    assert sorted(found.ok().path for found in schema.get_all_operations()) == sorted(PATHS)


def test_health(client):
    assert client.get("/health").json() == {"status": "ok", "revision": database.head()}


def test_health_of_a_schema_of_another_revision(make_app, market, timer):
    app = make_app(market)
    with opened(app.settings) as made:
        own = Surroundings(
            settings=app.settings, engine=made.engine, clock=lambda: NOW, timer=timer
        )
        client = TestClient(create(own))
        assert client.get("/health").status_code == 200
        owner = database.engine(app.settings, role="owner")
        with owner.begin() as connection:
            connection.execute(text("UPDATE stockbatch.alembic_version SET version_num = '0001'"))
        owner.dispose()
        timer.now += 2
        problem(client.get("/health"), 503)


def test_a_database_that_is_gone_is_a_problem_without_details(stored, token, timer, monkeypatch):
    with opened(stored.settings) as made:
        own = Surroundings(
            settings=stored.settings, engine=made.engine, clock=lambda: NOW, timer=timer
        )
        client = TestClient(create(own), headers={"Authorization": f"Bearer {token}"})
        assert client.get("/v1/models").status_code == 200
        timer.now += 2

        def gone(*_):
            raise DatabaseUnavailable(url="postgresql://secret@host", reason="gone")

        with monkeypatch.context() as patch:
            patch.setattr("stockbatch.store.serving.data_version", gone)
            answer = client.get("/v1/models")
        assert "secret" not in answer.text
        problem(answer, 503)
        assert answer.headers["Retry-After"] == "5"
        problem(client.get("/v1/models"), 503)  # nobody asks again so soon
        timer.now += 2
        assert client.get("/v1/models").status_code == 200


def test_a_login_that_may_not_take_the_role_is_refused(settings, engine):
    name = f"stranger_{engine.url.database[-8:]}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'x'"))
    url = database.for_clients(engine.url.set(username=name, password="x"))
    strange = settings.model_copy(update={"database_url": type(settings.database_url)(url)})
    with pytest.raises(RoleNotAllowed, match="GRANT stockbatch_api TO it"), opened(strange):
        pass
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {name}"))


def test_an_address_that_is_taken_is_told_in_one_line():
    with listen(Address("127.0.0.1", 0)) as first:
        address = Address(*first.getsockname())
        with pytest.raises(ConfigurationError) as caught:
            listen(address)
    assert str(caught.value) == (
        f"settings: api_address: cannot listen at {address}: another program listens there:"
        " stop it, or choose another address by --address"
    )


def test_an_address_of_another_machine_cannot_be_listened_at():
    with pytest.raises(ConfigurationError, match=r"api_address: cannot listen at 8\.8\.8\.8:1: "):
        listen(Address("8.8.8.8", 1))


def test_the_command_serves_without_tensorflow_until_it_is_told_to_stop(stored, token):
    code = (
        "import sys; from jobs import cli\n"
        "try:\n    cli.main()\n"
        "finally:\n    print('tensorflow' in sys.modules, flush=True)\n"
    )
    url = stored.settings.database_url.get_secret_value()
    with subprocess.Popen(
        [sys.executable, "-c", code, "api", "--address", "127.0.0.1:0"],
        env=os.environ | {"STOCKBATCH_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            base = process.stdout.readline().split()[1]
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=base, headers=headers) as client:
                assert client.get("/health").json()["status"] == "ok"
                answer = client.get("/v1/forecasts/AAA")
                methods = {item["method"] for item in answer.json()["items"]}
                assert methods >= {"lstm", "naive", "rolling_quantile"}
                assert "server" not in answer.headers
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
        assert process.wait(30) == 130
    assert rest == "False\n"
