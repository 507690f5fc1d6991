"""The page that says how much portfolios, groups and tickers may lose, and how well that was told.

The URL names the portfolio that is looked at.
"""

from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from jobs.pictures import charts, risk
from jobs.pictures.dashboard.accuracy import WINDOWS
from jobs.pictures.dashboard.overview import page_of
from jobs.pictures.dashboard.page import escaped, figures, listing, nothing, plot, read
from jobs.pictures.frames import own_or_demo
from jobs.pictures.tables import Row, titled
from jobs.words import DEMONSTRATION, KINDS
from stockbatch.records import SubjectKind
from stockbatch.store import bi
from stockbatch.store.bi.risk import LEVELS
from stockbatch.text import counted

EVERYTHING = "all tickers"
PORTFOLIOS, GROUPS, TICKERS = "Portfolios", "Groups", "Tickers"
PLOTTED = 250


def show() -> None:
    """Show portfolios, groups and tickers, then how well their risk was told."""
    st.header("Risk")
    st.markdown(risk.ABOUT)
    _portfolios(read(bi.portfolios.latest))
    told = read(bi.risk.latest)
    if told.empty:
        nothing(
            "The risk of no ticker has been told yet.",
            "`stockbatch run` tells that of all with 250 past sessions or more.",
        )
    else:
        is_ticker = told["subject_kind"] == SubjectKind.TICKER
        _groups(told[~is_ticker])
        _tickers(told[is_ticker])
    _how_well()


def _portfolios(data: pd.DataFrame) -> None:
    """Show all portfolios beside each other, and all of one."""
    st.subheader(PORTFOLIOS)
    if data.empty:
        nothing(
            "There is no portfolio.",
            "`stockbatch portfolios import FILE` brings what you hold: portfolio, ticker, "
            "quantity, and from which day on.",
        )
        return
    names = list(data["portfolio"])
    if len(names) > 1:
        listing(risk.rows_of(data), risk.PORTFOLIOS, file="portfolios", link=_portfolio_page)
    asked = st.query_params.get("portfolio")
    if asked and asked not in names:
        st.warning("There is no portfolio of the name in the address.")
    place = names.index(asked) if asked in names else 0
    # Here a name is text: elsewhere one that is an address would be made a link.
    place = st.selectbox(
        "Portfolio", range(len(names)), index=place, format_func=lambda one: names[one]
    )
    st.query_params.from_dict({"portfolio": names[place]})
    _portfolio(data.to_dict("records")[place])


def _portfolio_page(row: Row) -> str:
    return "risk?" + urlencode({"portfolio": row["portfolio"]})


def _portfolio(row: Row) -> None:
    """Show what the next session may do to one portfolio, what it holds, and what came so far."""
    name = row["portfolio"]
    if pd.isna(row["session"]):
        nothing("Its risk has not been told yet.", "The run of the next session does.")
    elif not pd.isna(row["reason"]):
        st.warning(escaped(f"No forecast for {row['session']:%Y-%m-%d}: {row['reason']}."))
    else:
        figures(risk.figures(row))
        listing(risk.by_level(row), risk.level_columns(row["currency"]), file="portfolio")
        st.caption(escaped(_made(row)))
    with st.expander(f"Holdings: {counted(int(row['tickers']), 'ticker')}"):
        held = read(bi.portfolios.held).astype({"value": float})  # of no close: no type
        held = held[held["portfolio"] == name].sort_values("value", key=abs, ascending=False)
        listing(held, risk.HOLDINGS, file="holdings", link=page_of)
    _history(name, read(bi.risk.history, name, risk.PLOTTED_LEVEL))


def _made(row: Row) -> str:
    """Return how a forecast was made, and whether it is old."""
    state = [] if row["is_current"] else ["this session is over: the forecast is old"]
    sessions = f"made of {row['simulations']:.0f} past sessions"
    scales = f"scales by {titled(row['method'])}"
    return " · ".join([KINDS[str(row["kind"])], sessions, scales, *state])


def _history(name: str, data: pd.DataFrame) -> None:
    """Show what a portfolio lost and won beside what was told, forecasts of one kind."""
    scored = data[data["actual_return_pct"].notna()]
    kinds = [kind for kind in KINDS if (scored["kind"] == kind).any()]
    if not kinds:
        return
    kind = kinds[0]
    if len(kinds) > 1:
        kind = st.segmented_control(
            "Forecasts", kinds, default=kind, required=True, key=f"kind of {name}"
        )
    plot(charts.risk(data[data["kind"] == kind].tail(PLOTTED)))
    st.caption(KINDS[kind])


def _groups(data: pd.DataFrame) -> None:
    if not data.empty:
        st.subheader(GROUPS)
        listing(data, risk.GROUPS, file="risk-of-groups")


def _tickers(data: pd.DataFrame) -> None:
    """Show the tickers that the visitor looks for, the largest shortfall first."""
    if data.empty:
        return
    st.subheader(f"{TICKERS}, session {data['session'].max():%Y-%m-%d}")
    if data["is_demo"].all():
        st.warning(DEMONSTRATION)
    elif not data["is_current"].astype(bool).any():
        st.warning("These forecasts are old. `stockbatch run` makes new ones.")
    groups = read(bi.groups.memberships)
    names = groups["group_kind"] + ": " + groups["group_name"]
    left, right = st.columns(2)
    with left:
        words = st.text_input("Search", placeholder="ticker or name", type="search", live=True)
    with right:
        group = st.selectbox("Group or watchlist", [EVERYTHING, *names.unique()])
    found = (data["ticker"] + " " + data["name"].fillna("")).str.casefold()
    data = data[found.str.contains(words.strip().casefold(), regex=False)]
    if group != EVERYTHING:
        data = data[data["ticker"].isin(groups.loc[names == group, "ticker"])]
    if data.empty:
        nothing("No ticker or name has that in it.", "Search for less.")
        return
    listing(data, risk.TICKERS, file="risk-of-tickers", link=page_of)


def _how_well() -> None:
    """Show how often losses were larger than told, of one kind, window and level."""
    st.subheader("How well was it told?")
    kinds = list(read(bi.risk.kinds)["kind"])
    if not kinds:
        nothing(
            "No forecast of risk has been scored yet.", "The run after the next session does it."
        )
        return
    kind = st.segmented_control("Kind", kinds, default=kinds[0], required=True)
    left, right = st.columns(2)
    with left:
        window = st.segmented_control("Sessions", WINDOWS, default=WINDOWS[0], required=True)
    with right:
        levels = list(LEVELS.values())
        level = st.segmented_control(
            "Level", levels, default=levels[0], required=True, format_func="{:g} %".format
        )
    st.caption(KINDS[kind])
    data = read(bi.risk.backtests, kind, window)
    parts = _parts(risk.judged(data[data["level_pct"] == level]))
    figures({f"{name} as expected": _as_expected(rows) for name, rows in parts.items()})
    with st.expander("What the words mean"):
        st.markdown(risk.VERDICTS)
    for name, rows in parts.items():
        st.markdown(f"**{name}**")
        link = page_of if name == TICKERS else None
        listing(rows, risk.TOLD, file=f"risk-told-of-{name.lower()}", link=link)


def _as_expected(rows: pd.DataFrame) -> str:
    """Return of how many of those that can be told the risk was as expected."""
    told = rows[rows["verdict"] != risk.EARLY]
    return f"{(told['verdict'] == risk.EXPECTED).sum()} of {len(told)}" if len(told) else risk.EARLY


def _parts(data: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of portfolios, groups and tickers, the least probable of each first."""
    data = data.sort_values("kupiec_p", na_position="last", kind="stable")
    of = data["subject_kind"].map({SubjectKind.PORTFOLIO: PORTFOLIOS, SubjectKind.TICKER: TICKERS})
    of = of.fillna(GROUPS)
    parts = {name: data[of == name] for name in (PORTFOLIOS, GROUPS, TICKERS)}
    parts[TICKERS] = own_or_demo(parts[TICKERS])
    return {name: rows for name, rows in parts.items() if len(rows)}
