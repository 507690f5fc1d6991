"""The first page: what is forecast for the next session, how unusual it is, and what is ahead."""

from datetime import date
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from jobs.pictures import headline
from jobs.pictures.dashboard.page import escaped, figures, listing, nothing, read, tell
from jobs.pictures.frames import own_or_demo, with_news
from jobs.pictures.tables import Columns, Row, day, number, text
from jobs.words import DEMONSTRATION, KINDS
from stockbatch.records import ForecastOrder
from stockbatch.store import bi
from stockbatch.text import counted

ORDERS = {
    order.replace("_", " "): order for order in (*list(ForecastOrder)[1:], ForecastOrder.TICKER)
}
SKILL: Columns = {
    "skill_pct": number(
        "vs rolling quantile",
        "{:+.1f} %",
        about="Pinball loss below that of rolling quantiles over the last 250 sessions; "
        "below 0: worse.",
        wide=True,
        once=True,
    ),
    "skill_n": number(
        "scored", "{:.0f}", about="Forecasts behind the skill.", wide=True, once=True
    ),
}
NEWS: Columns = {
    "news": text(
        "unusual news",
        about="Three items or more since the session before, and three times the usual number "
        "or a mean score three standard errors from the usual one.",
    ),
}
GROUPS: Columns = {
    "group_kind": text("kind", once=True),
    "group_name": text("group"),
    "tickers": number("tickers", "{:.0f}"),
    "expected_move_pct": number("median expected move", "± {:.1f} %"),
    "move_ratio": number("median × usual", "{:.1f} ×"),
    "event": number("with an event", "{:.0f}"),
}
EVERYTHING = "all tickers"
EVENTS: Columns = {
    "session": day("session"),
    "ticker": text("ticker"),
    "event": text("event"),
    "event_date": text("its day"),
}


def show() -> None:
    """Show the latest forecast of every ticker."""
    st.header("Next session")
    _freshness()
    data = read(bi.forecasts.latest_with_skill, ForecastOrder.LARGEST_EXPECTED_MOVE)
    if data.empty:
        nothing(
            "There is no forecast yet.",
            "`stockbatch demo` makes some on real index bars; `stockbatch tickers add AAPL` and "
            "`stockbatch run` make your own.",
        )
        return
    data = own_or_demo(data)
    groups = read(bi.groups.memberships)
    _summary(data)
    data = _chosen(data, groups)
    if data.empty:
        nothing("No ticker or name has that in it.", "Search for less.")
        return
    unusual = read(bi.news.unusual, data["origin_session"].min().date())
    listing(
        headline.rows_of(with_news(data, unusual)),
        {**headline.FORECASTS, **NEWS, **SKILL},
        file="next-session",
        link=page_of,
    )
    st.caption(headline.LAST_CLOSE)
    _events(data["session"].min().date(), set(data["ticker"]))
    _groups(data, groups)


def page_of(row: Row) -> str:
    """Return the address of a ticker's page."""
    return "ticker?" + urlencode({"ticker": row["ticker"]})


def _freshness() -> None:
    """Show for each exchange whether its last session is complete, and what completes it."""
    short = {one.calendar: str(one) for one in tell(bi.completeness.newest) if not one.is_enough}
    with st.container(horizontal=True, gap="small"):
        for exchange in read(bi.freshness.of_calendars).to_dict("records"):
            name, behind = exchange["calendar"], exchange["behind"]
            if name in short or pd.isna(exchange["session"]):
                continue
            day = f"{exchange['session']:%Y-%m-%d}"
            words = f"{day} is complete"
            if not exchange["is_ready"]:
                of_all = counted(exchange["tickers"], "ticker")
                lacking = f"{behind} of {of_all} without the bar of {day}"
                words = lacking if behind else f"{day} has not run"
            st.badge(
                escaped(f"{name}: {words}"),
                icon=":material/check:" if exchange["is_ready"] else ":material/schedule:",
                color="green" if exchange["is_ready"] else "orange",
            )
    for name, words in short.items():
        st.warning(escaped(f"{name}: {words}"))


def _summary(data: pd.DataFrame) -> None:
    """Say what the forecasts are about, and whether they still are forecasts."""
    newest = data["session"].max()
    current = data["is_current"].astype(bool)
    found = data["kind"].value_counts()
    figures({**headline.of_all(data), **_better(data)})
    st.caption(" · ".join(f"{n} {KINDS[str(kind)]}" for kind, n in found.items()))
    if data["is_demo"].all():
        st.warning(DEMONSTRATION)
    elif not current.any():
        st.warning(
            f"These forecasts are old: session {newest:%Y-%m-%d} is over. "
            "`stockbatch run` makes new ones."
        )
    elif not current.all():
        st.warning(
            f"{counted((~current).sum(), 'ticker')} with an old forecast only: see Operations."
        )


def _better(data: pd.DataFrame) -> dict[str, str]:
    """Count the tickers with skill, among those whose skill is of the preferred kind."""
    known = data[data["skill_pct"].notna()]
    for kind in KINDS:
        skill = known.loc[known["skill_kind"] == kind, "skill_pct"]
        if len(skill):
            name = f"Better than rolling quantiles, {kind}"
            return {name: f"{(skill > 0).sum()} of {len(skill)}"}
    return {"Better than rolling quantiles": "not known yet"}


def _chosen(data: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that the visitor looks for, in the order that was asked for."""
    names = groups["group_kind"] + ": " + groups["group_name"]
    left, middle, right = st.columns(3)
    with left:
        words = st.text_input("Search", placeholder="ticker or name", type="search", live=True)
    with middle:
        order = ORDERS[st.selectbox("Order by", list(ORDERS))]
    with right:
        group = st.selectbox("Group or watchlist", [EVERYTHING, *names.unique()])
    found = (data["ticker"] + " " + data["name"].fillna("")).str.casefold()
    chosen = data[found.str.contains(words.strip().casefold(), regex=False)]
    if group != EVERYTHING:
        chosen = chosen[chosen["ticker"].isin(groups.loc[names == group, "ticker"])]
    in_order = read(bi.forecasts.latest_with_skill, order)["ticker"]
    place = pd.Series(range(len(in_order)), index=in_order)
    return chosen.sort_values("ticker", key=lambda tickers: tickers.map(place))


def _events(first: date, tickers: set[str]) -> None:
    """Show what is known to move the session of the forecasts and those after it."""
    data = read(bi.events.ahead, first)
    data = data[data["ticker"].isin(tickers)]
    if data.empty:
        return
    st.subheader("Events ahead")
    listing(data, EVENTS, file="events", link=page_of)


def _groups(data: pd.DataFrame, groups: pd.DataFrame) -> None:
    """Show how unusual the next session is for each group of the tickers shown."""
    found = data.merge(groups, on="ticker").groupby(["group_kind", "group_name"], as_index=False)
    summed = found.agg(
        tickers=("ticker", "size"),
        expected_move_pct=("expected_move_pct", "median"),
        move_ratio=("move_ratio", "median"),
        event=("event", "count"),
    ).sort_values("move_ratio", ascending=False, na_position="last")
    if len(summed) > 1:
        st.subheader("Groups")
        listing(summed, GROUPS, file="groups")
