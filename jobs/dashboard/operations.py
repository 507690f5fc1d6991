"""The page for whoever runs it: what ran, what became of the tickers, how old the data are."""

import streamlit as st

from jobs import charts
from jobs.dashboard.page import Columns, nothing, plot, read
from stockbatch.store import dashboard as store


def show() -> None:
    """Show the last runs and what they did."""
    st.header("Operations")
    runs = read(store.runs)
    if runs.empty:
        nothing("Nothing has run yet.", "`stockbatch run` handles the last closed session.")
        return
    last = runs.iloc[0]
    boxes = st.columns(4)
    boxes[0].metric("Last run", last["status"])
    boxes[1].metric("Its session", f"{last['session']:%Y-%m-%d}")
    boxes[2].metric("Tickers", int(last["instruments"]))
    boxes[3].metric("Without a forecast", int(last["none"]))
    failed = runs[runs["status"] == "failed"]
    if not failed.empty:
        worst = failed.iloc[0]
        st.error(f"The run of {worst['session']:%Y-%m-%d} failed: {worst['message']}")
    plot(charts.outcomes(runs), height=240)
    st.subheader("Runs")
    columns: Columns = {
        "session": st.column_config.DateColumn("session", format="YYYY-MM-DD", pinned=True),
        "calendar": "exchange",
        "status": "status",
        "started_at": st.column_config.DatetimeColumn("started, UTC", format="YYYY-MM-DD HH:mm"),
        "duration_seconds": st.column_config.NumberColumn("seconds", format="%.1f"),
        "instruments": "tickers",
        **{action: action for action in charts.ACTIONS},
        "trigger": "trigger",
        "message": "message",
    }
    st.dataframe(runs, hide_index=True, column_order=list(columns), column_config=columns)
