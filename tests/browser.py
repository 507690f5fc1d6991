"""A headless Chromium, and a dashboard to look at with it."""

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
            [program, "dashboard", "--port", str(port)],
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
            process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())
