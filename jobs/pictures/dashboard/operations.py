"""The page for whoever runs it: what ran, what became of the tickers, how old the data are."""

import pandas as pd
import streamlit as st

from jobs.pictures import charts
from jobs.pictures.dashboard.page import Columns, escaped, figures, nothing, plot, read, table
from stockbatch.records import RunStatus
from stockbatch.store import bi

DAY = "YYYY-MM-DD"
RUNS = 200


def show() -> None:
    """Show runs, outcomes, the age of the data and findings."""
    st.header("Operations")
    runs = read(bi.runs.latest, RUNS)
    if runs.empty:
        nothing("Nothing has run yet.", "`stockbatch run` handles the last closed session.")
    else:
        _runs(runs)
        _outcomes(read(bi.runs.outcomes))
    _freshness(read(bi.freshness.of_calendars))
    _findings(read(bi.findings.latest))


def _runs(data: pd.DataFrame) -> None:
    last = data.iloc[0]
    figures(
        {
            "Last run": last["status"],
            "Its session": f"{last['session']:%Y-%m-%d}",
            "Tickers": int(last["instruments"]),
            "Without a forecast": int(last["none"]),
        }
    )
    if last["status"] == RunStatus.FAILED:
        st.error(f"It failed: {escaped(last['message'])}. `stockbatch run` finishes it.")
    columns: Columns = {
        "session": st.column_config.DateColumn("session", format=DAY, pinned=True),
        "calendar": "exchange",
        "status": "status",
        "started_at": st.column_config.DatetimeColumn(
            "started, UTC", format="YYYY-MM-DD HH:mm", timezone="UTC"
        ),
        "duration_seconds": st.column_config.NumberColumn("seconds", format="%.1f"),
        "instruments": "tickers",
        **{action: action for action in charts.ACTIONS},
        "trigger": "trigger",
        "message": "message",
    }
    table(data, columns, rows=6)


def _outcomes(data: pd.DataFrame) -> None:
    if data.empty:
        return
    plot(charts.outcomes(data), height=300)
    newest = data["session"].max()
    st.subheader(f"Outcomes of {newest:%Y-%m-%d}, by reason")
    columns: Columns = {
        "action": "outcome",
        "reason": "reason",
        "tickers": "tickers",
        "example": "for example",
        "message": "message",
    }
    table(data[data["session"] == newest], columns)


def _freshness(data: pd.DataFrame) -> None:
    st.subheader("Age of the data")
    if data.empty:
        nothing(
            "No ticker but demonstration data is on the watchlist.",
            "`stockbatch tickers add AAPL` puts one there.",
        )
        return
    number = st.column_config.NumberColumn
    columns: Columns = {
        "calendar": st.column_config.TextColumn("exchange", pinned=True),
        "session": st.column_config.DateColumn("last closed session", format=DAY),
        "is_ready": st.column_config.CheckboxColumn("finished"),
        "tickers": "tickers",
        "behind": number("lack its bar"),
        "age_hours": number("newest bar, hours", format="%.0f"),
    }
    table(data, columns)
    behind = read(bi.freshness.behind)
    if behind.empty:
        return
    st.caption(f"The {len(behind)} tickers furthest behind; `stockbatch doctor` says what to mend.")
    columns = {
        "ticker": st.column_config.TextColumn("ticker", pinned=True),
        "bar_session": st.column_config.DateColumn("newest bar", format=DAY),
        "sessions_behind": number("sessions behind"),
        "outcome_action": "outcome",
        "outcome_reason": "reason",
        "bar_provider": "provider",
    }
    table(behind, columns, rows=6)


def _findings(data: pd.DataFrame) -> None:
    st.subheader("Findings in the data")
    if data.empty:
        st.write("The checks found nothing.")
        return
    columns: Columns = {
        "session": st.column_config.DateColumn("session", format=DAY, pinned=True),
        "ticker": "ticker",
        "severity": "severity",
        "check_name": "check",
        "message": "what was seen",
        "observed": st.column_config.NumberColumn("observed", format="%.4g"),
        "threshold": st.column_config.NumberColumn("threshold", format="%.4g"),
    }
    table(data, columns, rows=6)
