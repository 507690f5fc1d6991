"""The page that says how good the forecasts were, and whether better than simple rules."""

import pandas as pd
import streamlit as st

from jobs.pictures import charts
from jobs.pictures.dashboard.overview import page_of
from jobs.pictures.dashboard.page import figures, listing, nothing, plot, read
from jobs.pictures.frames import own_or_demo
from jobs.pictures.tables import Columns, method, number, text, titled
from jobs.words import KINDS
from stockbatch.methods import registry
from stockbatch.store import bi
from stockbatch.text import counted

WINDOWS = (250, 60, 20)
PLOTTED = 25
METHODS: Columns = {
    "method": method(),
    "n": number("scored", "{:,.0f}", about="Forecasts of all tickers."),
    "pinball": number("pinball", "{:.5f}", about="Lower is better."),
    "skill_vs_rolling_quantile_pct": number("vs rolling quantile", "{:+.2f} %"),
    "skill_vs_rolling_quantile_error_pct": number("± standard error", "{:.2f} %"),
    "skill_vs_har_pct": number("vs HAR", "{:+.2f} %", wide=True),
    "skill_vs_lstm_pct": number("vs LSTM", "{:+.2f} %", wide=True),
    "share_better_pct": number("tickers better", "{:.0f} %", wide=True),
    "mae_return_skill_pct": number("point vs naive", "{:+.2f} %", wide=True),
    "dm_p_value": number(
        "p against LSTM",
        "{:.3f}",
        about="Diebold-Mariano test of equal pinball loss.",
        wide=True,
    ),
    "coverage_80_pct": number("inside 80 %", "{:.1f} %"),
    "coverage_95_pct": number("inside 95 %", "{:.1f} %"),
}
GROUPS: Columns = {
    "group_kind": text("kind", once=True),
    "group_name": text("group"),
    "calendar": text("exchange", wide=True, once=True),
    "method": method(once=True),
    "tickers": number("tickers", "{:.0f}"),
    "n": number("scored", "{:,.0f}", wide=True),
    "skill_vs_rolling_quantile_pct": number("vs rolling quantile", "{:+.2f} %"),
    "skill_vs_rolling_quantile_error_pct": number("± standard error", "{:.2f} %"),
    "coverage_80_pct": number("inside 80 %", "{:.1f} %", wide=True),
    "coverage_95_pct": number("inside 95 %", "{:.1f} %", wide=True),
}
TICKERS: Columns = {
    "ticker": text("ticker"),
    "n": number("scored", "{:.0f}", once=True),
    "skill_pct": number("vs rolling quantile", "{:+.2f} %"),
    "naive_skill_pct": number("point vs naive", "{:+.2f} %", wide=True),
    "mape_pct": number("mean error", "{:.2f} %", wide=True),
    "direction_pct": number("direction right", "{:.0f} %", wide=True),
    "coverage_80_pct": number("inside 80 %", "{:.0f} %"),
    "coverage_95_pct": number("inside 95 %", "{:.0f} %"),
    "method": method(wide=True, once=True),
}


def show() -> None:
    """Show leaderboard, coverage and skill of one kind and window."""
    st.header("How good were the forecasts?")
    kinds = list(read(bi.accuracy.kinds)["kind"])
    if not kinds:
        nothing(
            "No forecast has been scored yet.",
            "The run after the next session scores them; `stockbatch backtest` fills the past.",
        )
        return
    kind = st.segmented_control("Kind", kinds, default=kinds[0], required=True)
    window = st.segmented_control("Sessions", WINDOWS, default=WINDOWS[0], required=True)
    tickers = own_or_demo(read(bi.accuracy.by_ticker, kind, window))
    st.caption(f"{KINDS[kind]} · {_rests_on(tickers, window)}")
    board = read(bi.accuracy.leaderboard)
    board = board[(board["kind"] == kind) & (board["window_sessions"] == window)]
    if board.empty:
        nothing("There is no comparison over all tickers:", "demonstration data are left out.")
    for calendar, rows in board.groupby("calendar"):
        _leaderboard(str(calendar), rows)
    with st.expander("The methods"):
        st.markdown(
            "\n".join(f"- `{name}`, {title}: {what}" for name, title, what in registry.described())
        )
    _groups(read(bi.groups.accuracy, kind, window), set(tickers["method"]))
    _tickers(tickers)


def _groups(data: pd.DataFrame, methods: set[str]) -> None:
    """Show how well what is shown first forecast the tickers of each group together."""
    data = data[data["method"].isin(methods)]
    if not data.empty:
        st.subheader("Group by group")
        by_skill = data.sort_values("skill_vs_rolling_quantile_pct", ascending=False)
        listing(by_skill, GROUPS, file="groups")


def _rests_on(data: pd.DataFrame, window: int) -> str:
    """Return on how many sessions the numbers of a window rest: there may be fewer."""
    scored = 0 if data.empty else int(data["n"].max())
    many = f"{data['n'].sum():,.0f} forecasts of {counted(len(data), 'ticker')}"
    return f"the last {window} sessions, of which {scored} are scored: {many}"


def _leaderboard(calendar: str, data: pd.DataFrame) -> None:
    st.subheader(f"All tickers of {calendar}, through {data['session'].max():%Y-%m-%d}")
    named = data.assign(method=data["method"].map(titled))
    left, right = st.columns(2)
    with left:
        plot(charts.skill(named), rows=len(named))
    with right:
        plot(charts.coverage(named), rows=len(named))
    data = data.sort_values("pinball", na_position="last")
    listing(data, METHODS, file=f"methods-{calendar}")


def _tickers(data: pd.DataFrame) -> None:
    st.subheader("What was shown first, ticker by ticker")
    known = data["skill_pct"].dropna()
    figures(
        {
            "Better than rolling quantiles": f"{(known > 0).sum()} of {len(known)}",
            "Median skill": f"{known.median():+.2f} %" if len(known) else "unknown",
            "Median inside 80 %": f"{data['coverage_80_pct'].median():.0f} %",
        }
    )
    data = data.sort_values("skill_pct", ascending=False, na_position="last")
    listing(data, TICKERS, file="accuracy", link=page_of)
    worst = data.sort_values("coverage_80_pct").head(PLOTTED)
    title = f"The {counted(len(worst), 'ticker')} least often inside the 80 % interval"
    with st.expander(title, key="worst", on_change="rerun") as box:
        if box.open:
            plot(charts.coverage(worst, "ticker"), rows=len(worst))
