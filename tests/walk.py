"""Walk the pages of the dashboard and leave pictures of all of them, to be looked at.

    python -m tests.walk FOLDER

makes two homes in FOLDER, with the program's own commands, where they are not there yet: `demo`,
and `sixty` with 60 tickers of ../shared/data/sp500_5yr (left out where that is absent), their
sectors, a watchlist, report dates, a backtest and a run. Then it visits every page of each in
Chromium, light and dark, on a desktop and on a phone, and writes a PNG of the whole page to
FOLDER/pictures; beside them the reports, as files and as pictures. It fails where a page says that
something went wrong.

The picture of the README is the top of one of them, in few colours: FOLDER/pictures/readme.png, to
be copied to deployment/guides/overview.png once somebody has looked at it.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome

from stockbatch.market import sessions
from tests.support.browser import chromium, complaints, dashboard, photograph, prefer, resize, visit
from tests.support.places import DATA

PROGRAM = Path(sys.executable).with_name("stockbatch")
LAST = date(2018, 2, 7)
BACKTESTED = 60
SECTORS = {
    "Information Technology": "AAPL Apple, MSFT Microsoft, INTC Intel, CSCO Cisco, ORCL Oracle, "
    "IBM IBM, NVDA Nvidia, TXN Texas Instruments, QCOM Qualcomm, ADBE Adobe",
    "Financials": "JPM JPMorgan Chase, BAC Bank of America, WFC Wells Fargo, C Citigroup, "
    "GS Goldman Sachs, MS Morgan Stanley, AXP American Express, USB U.S. Bancorp",
    "Health Care": "JNJ Johnson & Johnson, PFE Pfizer, MRK Merck, ABT Abbott, AMGN Amgen, "
    "GILD Gilead, UNH UnitedHealth, BMY Bristol-Myers Squibb",
    "Energy": "XOM Exxon Mobil, CVX Chevron, SLB Schlumberger, COP ConocoPhillips, "
    "EOG EOG Resources, OXY Occidental",
    "Consumer Discretionary": "AMZN Amazon, HD Home Depot, MCD McDonald's, NKE Nike, "
    "SBUX Starbucks, F Ford, GM General Motors, NFLX Netflix",
    "Consumer Staples": "PG Procter & Gamble, KO Coca-Cola, PEP PepsiCo, WMT Walmart, "
    "COST Costco, CL Colgate-Palmolive",
    "Industrials": "GE General Electric, BA Boeing, CAT Caterpillar, MMM 3M, UPS UPS, "
    "UNP Union Pacific, HON Honeywell",
    "Utilities": "NEE NextEra Energy, DUK Duke Energy, SO Southern Company, EXC Exelon",
    "Materials": "FCX Freeport-McMoRan, NEM Newmont, APD Air Products",
}
PAGES = {
    "overview": "",
    "ticker": "ticker?ticker={}",
    "compared": "ticker?ticker={}&compare={}&compare={}",
    "risk": "risk",
    "accuracy": "accuracy",
    "operations": "operations",
    "how-to-read": "how-to-read",
}
SIZES = {"desktop": (1280, 900), "phone": (400, 844)}
README = "sixty-overview-desktop-light.png"
FIRST_SCREEN = (1280, 880)
"""It ends between two rows."""
SHOWN = {"demo": ("^GSPC", "^IXIC"), "sixty": ("AAPL", "MSFT", "XOM")}


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    homes = {"demo": folder / "demo"}
    if not homes["demo"].exists():
        call(homes["demo"], "demo")
    if DATA.exists():
        homes["sixty"] = folder / "sixty"
        if not homes["sixty"].exists():
            fill(homes["sixty"])
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    with chromium() as browser:
        for name, home in homes.items():
            walk(browser, name, home, pictures)
            report(browser, name, home, pictures)
            call(home, "db", "stop")
    if (pictures / README).exists():
        shorten(pictures / README, pictures / "readme.png")


def call(home: Path, *arguments: str) -> str:
    """Return what a command says, which must succeed."""
    environment = {**os.environ, "STOCKBATCH_HOME": str(home)}
    done = subprocess.run(
        [PROGRAM, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def fill(home: Path) -> None:
    """Fill a home as a user does who has a list of constituents and a folder of prices."""
    home.mkdir()
    named = {
        ticker: (name, sector)
        for sector, words in SECTORS.items()
        for ticker, name in (one.split(" ", 1) for one in words.split(", "))
    }
    lines = ["ticker,name,currency,sector"]
    lines += [f"{ticker},{name},USD,{sector}" for ticker, (name, sector) in named.items()]
    listed = home.parent / "sixty.csv"
    listed.write_text("\n".join(lines))
    calendar = sessions.load("XNYS", LAST)
    first = calendar.previous(LAST, BACKTESTED)
    bars = ("--provider", f"csv:{DATA / 'sp500_5yr'}")
    call(home, "tickers", "import", str(listed), *bars)
    call(home, "watchlists", "add", "Our portfolio", "AAPL", "JPM", "XOM", "KO", "BA")
    call(home, "events", "import", str(DATA / "earnings_dates" / "sp500_2013_2018.csv"))
    call(home, "fetch", "--session", str(LAST))
    call(home, "backtest", "--from", str(first), "--to", str(calendar.previous(LAST)))
    call(home, "run", "--session", str(LAST))


def walk(browser: Chrome, name: str, home: Path, pictures: Path) -> None:
    """Leave a picture of every page in both colours and sizes."""
    with dashboard({"STOCKBATCH_HOME": str(home)}, pictures / f"{name}.log") as url:
        for colour in ("light", "dark"):
            prefer(browser, colour)
            for device, size in SIZES.items():
                for page, address in PAGES.items():
                    resize(browser, size)
                    visit(browser, f"{url}/{filled(address, SHOWN[name])}")
                    photograph(browser, pictures / f"{name}-{page}-{device}-{colour}.png")
                    wrong = "return document.querySelectorAll('[data-testid=stException]').length"
                    assert browser.execute_script(wrong) == 0, page
                    assert complaints(browser) == [], page
        browser.get("about:blank")  # or else it goes on asking for a server that is gone


def filled(address: str, tickers: Sequence[str]) -> str:
    """Return an address with tickers in their places, the last one again where there are few."""
    places = address.count("{}")
    return address.format(*(*tickers, *[tickers[-1]] * places)[:places])


def report(browser: Chrome, name: str, home: Path, pictures: Path) -> None:
    """Leave the reports, and pictures of the pages."""
    for words, ticker in (("all", ()), ("ticker", (SHOWN[name][0],))):
        file = pictures / f"{name}-report-{words}"
        for suffix in ("html", "pdf", "png"):
            call(home, "report", "--out", f"{file}.{suffix}", *ticker)
        for colour in ("light", "dark"):
            prefer(browser, colour)
            for device, size in SIZES.items():
                resize(browser, size)
                browser.get(file.with_suffix(".html").as_uri())
                photograph(browser, pictures / f"{name}-report-{words}-{device}-{colour}.png")


def shorten(picture: Path, to: Path) -> None:
    """Write the first screen of a picture, small enough for a page that many open."""
    with Image.open(picture) as whole:
        first = whole.convert("RGB").crop((0, 0, *FIRST_SCREEN))
        first.quantize(64, dither=Image.Dither.NONE).save(to, optimize=True)


if __name__ == "__main__":
    main()
