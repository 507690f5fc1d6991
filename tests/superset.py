"""Import the dashboards of deployment/superset into a running Superset and look at them.

    python -m tests.superset SUPERSET DATABASE FOLDER

logs in to the Superset at the URL SUPERSET as `admin` with the password in SUPERSET_PASSWORD,
imports the dashboards with the login of the URL DATABASE, which may read schema `bi`, asks every
chart for its data over REST, opens every dashboard in Chromium, and leaves a picture of each in
FOLDER, to be looked at. It fails where Superset reports an error, where a chart has no rows, and
where a page says that something went wrong.
"""

import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml
from selenium.webdriver import Chrome
from sqlalchemy import make_url

from deployment.superset import build
from deployment.superset.dashboards import Dashboard
from tests.support.browser import chromium, photograph, resize, wait_for

USER = "admin"
WIDTH, HEADER = 1440, 130
DRAWN = """
const charts = [...document.querySelectorAll('.dashboard-component-chart-holder')];
const busy = '.loading, [data-test=loading-indicator], [aria-label=Loading]';
return charts.length === arguments[0] && document.querySelector(busy) === null
    && charts.every(chart => chart.querySelector('.slice_container') !== null) || null
"""
WRONG = """
const signs = '[role=alert], .ant-alert-error, .ant-empty, .error-boundary';
const waiting = '[data-test=filter-bar__apply-button]:not([disabled])';
return [...document.querySelectorAll(`${signs}, ${waiting}`)].map(sign => sign.innerText.trim())
"""
"""Errors, charts without data, and filters that have not come into force."""


def main() -> None:
    superset, database, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    password = os.environ["SUPERSET_PASSWORD"]
    with httpx.Client(base_url=superset, timeout=120) as client:
        log_in(client, password)
        install(client, database)
        ask_charts(client)
        urls = {one["slug"]: superset + one["url"] for one in result(client, "dashboard")}
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        enter(browser, superset, password)
        for make in build.DASHBOARDS:
            dashboard = make()
            picture = folder / f"superset-{dashboard.name}.png"
            look(browser, urls[dashboard.file()["slug"]], dashboard, picture)
            print(f"{dashboard.title}: {picture}", flush=True)


# ---- REST


def log_in(client: httpx.Client, password: str) -> None:
    who = {"username": USER, "password": password, "provider": "db"}
    token = answered(client.post("/api/v1/security/login", json=who))["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    client.headers["Referer"] = str(client.base_url)
    client.headers["X-CSRFToken"] = answered(client.get("/api/v1/security/csrf_token/"))["result"]


def install(client: httpx.Client, database: str) -> None:
    """Import the export as *Dashboards, Import* does, with another server, login and password."""
    url = make_url(database).set(drivername="postgresql+psycopg2")
    names = "databases/stockbatch.yaml"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in build.files().items():
            content = text
            if path == names:
                shown = url.set(password="X" * 10).render_as_string(hide_password=False)
                content = yaml.safe_dump({**build.DATABASE, "sqlalchemy_uri": shown})
            archive.writestr(f"export/{path}", content)
    form = {"passwords": json.dumps({names: url.password}), "overwrite": "true"}
    bundle = {"formData": ("stockbatch.zip", packed.getvalue(), "application/zip")}
    answered(client.post("/api/v1/dashboard/import/", data=form, files=bundle))


def ask_charts(client: httpx.Client) -> None:
    charts = result(client, "chart")
    expected = sum(path.startswith("charts/") for path in build.files())
    assert len(charts) == expected, (len(charts), expected)
    for chart in charts:
        started = time.perf_counter()
        (data,) = answered(client.get(f"/api/v1/chart/{chart['id']}/data/"))["result"]
        assert data["error"] is None, (chart["slice_name"], data["error"])
        assert data["rowcount"] > 0, f"{chart['slice_name']}: no rows\n{data['query']}"
        filled = {name for row in data["data"] for name, value in row.items() if value is not None}
        assert filled, f"{chart['slice_name']}: nothing but NULL\n{data['query']}"
        took = time.perf_counter() - started
        print(f"{data['rowcount']:5} rows {took:6.2f} s  {chart['slice_name']}", flush=True)


def result(client: httpx.Client, kind: str) -> list[dict[str, Any]]:
    found = answered(client.get(f"/api/v1/{kind}/", params={"q": "(page_size:100)"}))["result"]
    return list(found)


def answered(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.url}: {response.status_code} {response.text[:2000]}"
    return response.json()


# ---- Chromium


def enter(browser: Chrome, superset: str, password: str) -> None:
    resize(browser, (WIDTH, 900))
    browser.get(f"{superset}/login/")
    fields = """
    const fields = ['username', 'password'].map(name => document.querySelector(
        `input[name=${name}], input#${name}, [data-test=${name}-input]`));
    return fields.every(Boolean) ? fields : null
    """
    name, secret = wait_for(browser, fields, patience=60)
    name.send_keys(USER)
    secret.send_keys(f"{password}\n")
    left = "return location.pathname.includes('login') ? null : true"
    wait_for(browser, left, patience=60)


def look(browser: Chrome, url: str, dashboard: Dashboard, picture: Path) -> None:
    """Leave a picture of a dashboard, of which every chart must be drawn."""
    height = sum(max(chart.height for chart in row) * 8 + 16 for row in dashboard.rows)
    resize(browser, (WIDTH, height + HEADER))  # charts out of sight are not drawn
    browser.get(url)
    for _ in range(2):  # what filters choose comes after a first drawing
        wait_for(browser, DRAWN, len(dashboard.charts), patience=120)
        time.sleep(3)  # lines grow into their places
    photograph(browser, picture)
    wrong = browser.execute_script(WRONG)
    assert wrong == [], (dashboard.title, wrong)


if __name__ == "__main__":
    main()
