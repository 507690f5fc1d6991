"""What is said of risk: how much may be lost, and how well that was told so far."""

from typing import Any

import pandas as pd

from jobs.pictures.tables import Column, Columns, Row, day, method, minus, number, text
from jobs.words import price
from stockbatch.store.bi.risk import LEVELS, MEASURES

OFTEN = {5.0: "one in 20", 2.5: "one in 40", 1.0: "one in 100"}
"""How many sessions should lose more than the value at risk of a level, the largest level first."""
ABOUT = (
    "Value at risk at 5 %: one session in twenty should lose more. Expected shortfall: what such a "
    "session should lose on average. Both are losses in percent; of a group, as if the same amount "
    "of each ticker were held. They are made of past sessions, each at the volatility of now: near "
    "a ticker's downside, which its forecast states, and not the same."
)
PLOTTED_LEVEL = max(OFTEN)
UNTOLD = "its risk has not been told yet"
EXPECTED, EARLY = "as expected", "too early to tell"
MANY, FEW = "too many breaches", "too few breaches"
CLUSTERED, LARGER = "breaches in clusters", "larger losses than told"
UNLIKELY = 0.01
"""A p value below which chance is no explanation."""
FEWEST = 20
"""Sessions below which nothing is said."""
SHORT, LEVEL_OF_SHORT, SESSIONS_OF_SHORT = -0.7, 2.5, 200
"""Z2 that is found by chance once in twenty, at this level and about a year's sessions or more."""
VERDICTS = f"""
A *breach* is a session that lost more than the value at risk. At 5 % one session in twenty should
be one: many more say that risk was understated, many fewer that it was overstated.

- **{MANY}**, **{FEW}**: that number would come by chance less than once in a hundred
  (Kupiec's test).
- **{CLUSTERED}**: one follows the other, less than once in a hundred by chance
  (Christoffersen's test): the forecast adapts too slowly to a nervous market.
- **{LARGER}**: at 2.5 %, over nearly a year or more, losses were so much larger or more frequent
  than the expected shortfall that it would come by chance once in twenty (Z2 of Acerbi and Székely
  is below {minus(f"{SHORT}")}; where all is right it is 0).
- **{EARLY}**: fewer than {FEWEST} sessions, or not one breach is due yet.
- **{EXPECTED}**: none of these. It does not prove that the risk is right, only that nothing speaks
  against it yet.

Of a hundred whose risk is told rightly, one or two are marked by chance. Tickers fall together:
many marked at once may be one bad day.
"""


def amount(heading: str, **more: Any) -> Column:
    """Return a column of sums of money."""
    return Column(heading=heading, write=lambda value: minus(price(value)), **more)


def _levels() -> dict[str, Column]:
    """Return the columns of value at risk and shortfall, those of the largest level first."""
    columns: dict[str, Column] = {}
    for name, level in LEVELS.items():
        at = f"{level:g}\N{NO-BREAK SPACE}%"
        wide = level < PLOTTED_LEVEL
        columns |= {
            f"value_at_risk_{name}_pct": number(
                f"value at risk, {at}",
                "{:.2f} %",
                about=f"Of sessions {OFTEN[level]} should lose more.",
                wide=wide,
            ),
            f"expected_shortfall_{name}_pct": number(
                f"shortfall, {at}",
                "{:.2f} %",
                about=f"What {OFTEN[level]} sessions should lose on average.",
                wide=wide,
            ),
        }
    return columns


BAR = Column(
    heading="80 and 95 % interval", bar=True, wide=True, about="Thick: 80 %, thin: 95 %; one scale."
)
MADE = {
    "session": day("session", wide=True, once=True),
    "kind": text("kind", wide=True, once=True),
    "method": method(wide=True, once=True),
}
PORTFOLIOS: Columns = {
    "portfolio": text("portfolio", phone="reason"),
    **_levels(),
    "interval": BAR,
    "exposure": amount("exposure", about="What is held and what is owed, added up.", wide=True),
    "currency": text("in", wide=True, once=True),
    "kind": text("kind", wide=True, once=True),
    "reason": text("why there is no forecast", prose=True, wide=True),
}
GROUPS: Columns = {
    "subject": text("group"),
    "subject_kind": text("kind of group", once=True),
    "members": number("tickers", "{:.0f}", wide=True),
    **_levels(),
    "calendar": text("exchange", wide=True, once=True),
    **MADE,
}
TICKERS: Columns = {
    "ticker": text("ticker", below="name"),
    **_levels(),
    "simulations": number(
        "sessions", "{:.0f}", about="Past sessions that it is made of.", wide=True, once=True
    ),
    **MADE,
}
HOLDINGS: Columns = {
    "ticker": text("ticker", below="name"),
    "quantity": number("quantity", "{:,.10g}", about="After the splits since it was stated."),
    "close": Column(heading="last close", write=price),
    "value": amount("value", about="Below 0: owed."),
    "exposure_pct": number("of the exposure", "{:.1f} %"),
    "currency": text("in", once=True, wide=True),
    "from_day": text("held from", once=True, wide=True),
    "session": day("session", once=True, wide=True),
}
TOLD: Columns = {
    "subject": text("of", below="name", phone="verdict"),
    "subject_kind": text("kind", wide=True, once=True),
    "sessions": number("sessions", "{:.0f}", about="Those that are scored.", once=True),
    "breaches": number("breaches", "{:.0f}"),
    "expected": number("expected", "{:.1f}"),
    "verdict": text("in words", wide=True),
    "kupiec_p": number(
        "Kupiec p", "{:.3f}", about="Of as many breaches, were the level right.", wide=True
    ),
    "christoffersen_p": number(
        "Christoffersen p",
        "{:.3f}",
        about="Of breaches that follow each other so, were they independent.",
        wide=True,
    ),
    "z2": number("Z2", "{:+.2f}", about="0: the shortfall is right; below: too small.", wide=True),
    "coverage_80_pct": number("inside 80 %", "{:.1f} %", wide=True),
    "coverage_95_pct": number("inside 95 %", "{:.1f} %", wide=True),
    "skill_vs_unscaled_pct": number(
        "vs history", "{:+.1f} %", about="Better than the past sessions as they were.", wide=True
    ),
    "calendar": text("exchange", wide=True, once=True),
}


def rows_of(data: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts of portfolios with what PORTFOLIOS needs beside their own columns."""
    ends = [f"return_{end}_pct" for end in ("low_95", "low_80", "high_80", "high_95")]
    rows = [tuple(row) for row in data[ends].to_numpy(float)]
    return data.assign(
        interval=pd.Series(rows, index=data.index, dtype=object),
        reason=data["reason"].where(data["session"].notna(), UNTOLD),
    )


def silent(data: pd.DataFrame) -> list[str]:
    """Return a sentence on each portfolio without a forecast."""
    return [
        f"No forecast of {row['portfolio']}: {row['reason']}."
        for row in rows_of(data).to_dict("records")
        if not pd.isna(row["reason"])
    ]


def by_level(row: Row) -> pd.DataFrame:
    """Return a row per level of what was told of one ticker, group or portfolio."""
    return pd.DataFrame(
        {
            "often": OFTEN[level],
            "level_pct": level,
            **{
                f"{measure}{end}": row[f"{measure}_{name}{end}"]
                for measure in MEASURES
                for end in ("_pct", "")
            },
        }
        for name, level in LEVELS.items()
    )


def level_columns(currency: str | None) -> Columns:
    """Return the columns of `by_level`, sums of money in a currency."""
    money_in = "money" if pd.isna(currency) else currency
    return {
        "often": text("sessions"),
        "level_pct": number("level", "{:g} %", wide=True),
        "value_at_risk_pct": number("value at risk", "{:.2f} %", about="They should lose more."),
        "value_at_risk": amount(f"in {money_in}"),
        "expected_shortfall_pct": number(
            "expected shortfall", "{:.2f} %", about="What they should lose on average."
        ),
        "expected_shortfall": amount(f"shortfall in {money_in}"),
    }


def figures(row: Row) -> dict[str, str]:
    """Return the figures of the forecast of a portfolio by their names."""
    return {
        "Target session": f"{row['session']:%Y-%m-%d}",
        "Exposure": money(row["exposure"], row["currency"]),
        "80 % interval": _interval(row, 80),
        "95 % interval": _interval(row, 95),
    }


def money(value: float, currency: str | None) -> str:
    """Return a sum of money with its currency, where that is known."""
    return f"{minus(price(value))} {'' if pd.isna(currency) else currency}".strip()


def _interval(row: Row, percent: int) -> str:
    low, high = row[f"return_low_{percent}_pct"], row[f"return_high_{percent}_pct"]
    return minus(f"{low:+.1f} to {high:+.1f} %")


def judged(data: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `bi.risk.backtests` with the breaches expected, and the verdict in words."""
    # A column of nothing has no type.
    data = data.astype(dict.fromkeys(("kupiec_p", "christoffersen_p", "z2"), float))
    expected = data["sessions"] * data["level_pct"] / 100
    verdicts = [verdict(row) for row in data.to_dict("records")]
    return data.assign(
        expected=expected, verdict=pd.Series(verdicts, index=data.index, dtype=object)
    )


def verdict(row: Row) -> str:
    """Return in words how well the risk of one was told at one level."""
    expected = row["sessions"] * row["level_pct"] / 100
    if row["sessions"] < FEWEST:
        return EARLY
    if row["kupiec_p"] < UNLIKELY:  # of NaN nothing is true
        return MANY if row["breaches"] > expected else FEW
    if row["christoffersen_p"] < UNLIKELY:
        return CLUSTERED
    is_year = row["level_pct"] == LEVEL_OF_SHORT and row["sessions"] >= SESSIONS_OF_SHORT
    if is_year and row["z2"] < SHORT:
        return LARGER
    return EXPECTED if expected >= 1 else EARLY
