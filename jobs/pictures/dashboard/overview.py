"""The first page: what is forecast for the next session, how sure, and how good that was."""

from urllib.parse import quote

import pandas as pd
import streamlit as st

from jobs.pictures import charts
from jobs.pictures.dashboard.page import PRICE, Columns, figures, nothing, plot, read, table
from jobs.pictures.frames import own_or_demo
from jobs.words import DEMONSTRATION, KINDS
from stockbatch.store import bi

ORDERS = {
    "widest interval": ("width", False),
    "narrowest interval": ("width", True),
    "most probable rise": ("probability_of_rise_pct", False),
    "most probable fall": ("probability_of_rise_pct", True),
    "largest forecast rise": ("forecast_return_pct", False),
    "largest forecast fall": ("forecast_return_pct", True),
    "best skill": ("skill_pct", False),
    "ticker": ("ticker", True),
}
PLOTTED = 25


def show() -> None:
    """Show the latest forecast of every ticker."""
    st.header("Next session")
    data = read(bi.forecasts.latest_with_skill)
    if data.empty:
        nothing(
            "There is no forecast yet.",
            "`stockbatch demo` makes some on real index bars; `stockbatch tickers add AAPL` and "
            "`stockbatch run` make your own.",
        )
        return
    data = own_or_demo(data)
    data = data.assign(width=data["return_high_80_pct"] - data["return_low_80_pct"])
    _summary(data)
    order = st.selectbox("Order by", list(ORDERS))
    column, ascending = ORDERS[order]
    data = data.sort_values(column, ascending=ascending, na_position="last")
    _table(data)
    plot(charts.intervals(data.head(PLOTTED)), rows=min(PLOTTED, len(data)))
    if len(data) > PLOTTED:
        st.caption(f"The plot shows the first {PLOTTED} of {len(data)} tickers.")


def _summary(data: pd.DataFrame) -> None:
    """Say what the forecasts are about, and whether they still are forecasts."""
    newest = data["session"].max()
    current = data["is_current"].astype(bool)
    found = data["kind"].value_counts()
    figures(
        {
            "Target session": f"{newest:%Y-%m-%d}",
            "Tickers": len(data),
            "Median 80 % interval": f"{data['width'].median():.1f} % wide",
            **_better(data),
        }
    )
    st.caption(" · ".join(f"{n} {KINDS[str(kind)]}" for kind, n in found.items()))
    if data["is_demo"].all():
        st.warning(DEMONSTRATION)
    elif not current.any():
        st.warning(
            f"These forecasts are old: session {newest:%Y-%m-%d} is over. "
            "`stockbatch run` makes new ones."
        )
    elif not current.all():
        st.warning(f"{(~current).sum()} tickers have only an old forecast: see Operations.")


def _better(data: pd.DataFrame) -> dict[str, str]:
    """Count the tickers with skill, among those whose skill is of the preferred kind."""
    known = data[data["skill_pct"].notna()]
    for kind in KINDS:
        skill = known.loc[known["skill_kind"] == kind, "skill_pct"]
        if len(skill):
            name = f"Better than rolling quantiles, {kind}"
            return {name: f"{(skill > 0).sum()} of {len(skill)}"}
    return {"Better than rolling quantiles": "not known yet"}


def _table(data: pd.DataFrame) -> None:
    number = st.column_config.NumberColumn
    shown = data.assign(
        link=["ticker?ticker=" + quote(ticker, safe="") for ticker in data["ticker"]],
    )
    columns: Columns = {
        "ticker": st.column_config.TextColumn("ticker", pinned=True),
        "link": st.column_config.LinkColumn("", display_text="open", width="small"),
        "forecast_close": number("forecast", format=PRICE),
        "origin_close": number("naive", format=PRICE, help="The naive forecast: the last close."),
        "forecast_return_pct": number("change", format="%+.2f %%"),
        "close_low_80": number("80 % from", format=PRICE),
        "close_high_80": number("to", format=PRICE),
        "probability_of_rise_pct": number("P(rise)", format="%.0f %%"),
        "event": st.column_config.TextColumn(
            "event",
            help="What is known to move the session; what comes after a close moves the next one.",
        ),
        "currency": "currency",
        "skill_pct": number(
            "vs rolling quantile",
            format="%+.1f %%",
            help="Pinball loss below that of rolling quantiles over the last 250 sessions; "
            "below 0: worse.",
        ),
        "naive_skill_pct": number(
            "vs naive",
            format="%+.1f %%",
            help="Mean absolute error of the forecast close below that of the last close, over "
            "the same sessions; below 0: worse.",
        ),
        "skill_n": number("scored", help="Forecasts behind the skill."),
        "skill_kind": st.column_config.TextColumn("skill of", help="Kind of those forecasts."),
        "kind": "kind",
        "session": st.column_config.DateColumn("session", format="YYYY-MM-DD"),
        "method": "method",
        "skill_method": st.column_config.TextColumn("skill by", help="Method of those scored."),
        "name": "name",
    }
    table(shown, columns, rows=12)
