"""A headless Chromium, and a dashboard to look at with it."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ABSENT = "Debian's chromium and chromium-driver are not installed"
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--hide-scrollbars",
)
DESKTOP, PHONE = (1280, 900), (390, 844)
SHOWN = """
const app = document.querySelector('[data-testid=stApp]');
return app !== null
    && app.getAttribute('data-test-script-state') === 'notRunning'
    && document.body.innerText.includes('Not investment advice')
    && document.querySelector('[data-testid=stSkeleton]') === null
    && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')]
        .every(chart => chart.querySelector('canvas, svg') !== null)
"""


@contextmanager
def chromium(time_zone: str = "America/Los_Angeles") -> Iterator[Chrome]:
    """Run a browser, by default far west of UTC, where dates shift if anything shifts them."""
    options = Options()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for switch in SWITCHES:
        options.add_argument(switch)
    service = Service(DRIVER, env={**os.environ, "TZ": time_zone})
    browser = Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser: Chrome, size: tuple[int, int]) -> None:
    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
    )


def prefer(browser: Chrome, colour: str) -> None:
    """Ask pages to be light or dark, as a visitor's own setting does."""
    feature = {"name": "prefers-color-scheme", "value": colour}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def photograph(browser: Chrome, file: Path) -> None:
    """Write a picture of all of a page, however long it is; it stays as high as that."""
    script = """
    const main = document.querySelector('[data-testid=stMain]') ?? document.documentElement;
    return [window.innerWidth, Math.max(window.innerHeight, Math.ceil(main.scrollHeight) + 8)]
    """
    width, height = browser.execute_script(script)
    resize(browser, (width, height))
    time.sleep(0.5)  # until plots have taken their new places
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": False})
    file.write_bytes(base64.b64decode(shot["data"]))


def visit(browser: Chrome, url: str, patience: float = 60) -> float:
    """Open a page of the dashboard and return the seconds until all of it was drawn."""
    started = time.perf_counter()
    browser.get(url)
    while not browser.execute_script(SHOWN):
        if time.perf_counter() - started > patience:
            text = browser.execute_script("return document.body.innerText")
            raise AssertionError(f"{url} is not drawn after {patience} s: {text}")
        time.sleep(0.02)
    return time.perf_counter() - started


def wait_for(browser: Chrome, script: str, *arguments: Any, patience: float = 10) -> Any:
    """Return what a script returns as soon as it is not null."""
    for _ in range(int(patience / 0.05)):
        found = browser.execute_script(script, *arguments)
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing after {patience} s: {script}")


def shown_figures(browser: Chrome) -> dict[str, str]:
    """Return the large numbers of a page by their names."""
    script = """
    const text = (box, part) => box.querySelector(`[data-testid=stMetric${part}]`).innerText.trim();
    return [...document.querySelectorAll('[data-testid=stMetric]')].map(
        box => [text(box, 'Label'), text(box, 'Value')])
    """
    return dict(browser.execute_script(script))


def shown_sheet(browser: Chrome, place: int = 0) -> list[dict[str, str]]:
    """Return the rows of the table at a place, with what a visitor sees of each cell."""
    script = """
    const table = [...document.querySelectorAll('.sheet table')].at(arguments[0]);
    return table ? [...table.rows].map(row => [...row.cells].map(cell => cell.innerText.trim()))
        : null
    """
    heading, *rows = wait_for(browser, script, place)
    return [dict(zip(heading, row, strict=True)) for row in rows]


def pointed_at(browser: Chrome, title: str, *, from_right: float) -> dict[str, str]:
    """Return what a plot says where the pointer is, a share of its width from its right end."""
    frame = """
    const plots = [...document.querySelectorAll('[data-testid=stVegaLiteChart] svg')];
    const plot = plots.find(one => one.textContent.includes(arguments[0]));
    plot.scrollIntoView({block: 'center', behavior: 'instant'});
    const {right, width, top, height} = plot.querySelector('.background').getBoundingClientRect();
    return [right - arguments[1] * width, top + height / 2]
    """
    tips = """
    const tip = document.querySelector('#vg-tooltip-element.visible');
    return tip && [...tip.querySelectorAll('tr')].map(row => [...row.cells].map(
        cell => cell.innerText.replace(/:$/, '')))
    """
    x, y = browser.execute_script(frame, title, from_right)
    for step in (40, 0):
        where = {"type": "mouseMoved", "x": x - step, "y": y}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", where)
        time.sleep(0.1)
    return dict(wait_for(browser, tips))


def complaints(browser: Chrome) -> list[str]:
    """Return what pages have written to the console as errors since the last call.

    Streamlit asks for its own address below every page's, and takes a 404 for an answer.
    """
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    return [message for message in severe if "/_stcore/" not in message]


def hosts_asked(browser: Chrome) -> set[str]:
    """Return the hosts that pages have asked for anything since the last call."""
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = [one["request"]["url"] for one in sent]
    return {urlsplit(url).hostname or "" for url in urls if url.startswith(("http", "ws"))}


@contextmanager
def dashboard(variables: Mapping[str, str], log: Path) -> Iterator[str]:
    """Serve the dashboard as a user does, and yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("stockbatch")
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "dashboard", "--address", f"127.0.0.1:{port}"],
            env={**os.environ, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())
