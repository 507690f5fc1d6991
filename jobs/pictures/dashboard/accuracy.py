"""The page that says how good the forecasts were, and whether better than simple rules."""

import pandas as pd
import streamlit as st

from jobs.pictures import charts
from jobs.pictures.dashboard.page import Columns, figures, nothing, plot, read, table
from jobs.pictures.frames import own_or_demo
from jobs.words import KINDS
from stockbatch.methods import registry
from stockbatch.store import bi

WINDOWS = (250, 60, 20)
PLOTTED = 25


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
    st.caption(KINDS[kind])
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
    _tickers(own_or_demo(read(bi.accuracy.by_ticker, kind, window)))


def _leaderboard(calendar: str, data: pd.DataFrame) -> None:
    st.subheader(f"All tickers of {calendar}, through {data['session'].max():%Y-%m-%d}")
    left, right = st.columns(2)
    with left:
        plot(charts.skill(data), rows=len(data))
    with right:
        plot(charts.coverage(data), rows=len(data))
    number = st.column_config.NumberColumn
    columns: Columns = {
        "method": st.column_config.TextColumn("method", pinned=True),
        "n": number("scored", format="localized"),
        "pinball": number("pinball", format="%.5f", help="Lower is better."),
        "skill_vs_rolling_quantile_pct": number("vs rolling quantile", format="%+.2f %%"),
        "skill_vs_rolling_quantile_error_pct": number("± standard error", format="%.2f %%"),
        "skill_vs_har_pct": number("vs HAR", format="%+.2f %%"),
        "skill_vs_lstm_pct": number("vs LSTM", format="%+.2f %%"),
        "share_better_pct": number("tickers better", format="%.0f %%"),
        "mae_return_skill_pct": number("point vs naive", format="%+.2f %%"),
        "dm_p_value": number(
            "p against LSTM", format="%.3f", help="Diebold-Mariano test of equal pinball loss."
        ),
        "coverage_80_pct": number("inside 80 %", format="%.1f %%"),
        "coverage_95_pct": number("inside 95 %", format="%.1f %%"),
    }
    data = data.sort_values("pinball", na_position="last")
    table(data, columns)


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
    number = st.column_config.NumberColumn
    columns: Columns = {
        "ticker": st.column_config.TextColumn("ticker", pinned=True),
        "n": number("scored"),
        "skill_pct": number("vs rolling quantile", format="%+.2f %%"),
        "naive_skill_pct": number("point vs naive", format="%+.2f %%"),
        "mape_pct": number("mean error", format="%.2f %%"),
        "direction_pct": number("direction right", format="%.0f %%"),
        "coverage_80_pct": number("inside 80 %", format="%.0f %%"),
        "coverage_95_pct": number("inside 95 %", format="%.0f %%"),
        "method": "method",
    }
    data = data.sort_values("skill_pct", ascending=False, na_position="last")
    table(data, columns, rows=11)
    worst = data.sort_values("coverage_80_pct").head(PLOTTED)
    plot(charts.coverage(worst, "ticker"), rows=len(worst))
    if len(data) > PLOTTED:
        st.caption(f"The plot shows the {PLOTTED} tickers least often inside their 80 % interval.")
