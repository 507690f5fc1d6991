"""The page for whoever runs it: what ran, what became of the tickers, how old the data are."""

import pandas as pd
import streamlit as st

from jobs.pictures import charts
from jobs.pictures.dashboard.overview import page_of
from jobs.pictures.dashboard.page import escaped, figures, listing, nothing, plot, read
from jobs.pictures.tables import Column, Columns, day, instant, number, spaced, text, word
from stockbatch.records import RunStatus
from stockbatch.store import bi
from stockbatch.text import counted

RUNS = 200
RUN_COLUMNS: Columns = {
    "session": day("session"),
    "calendar": text("exchange", once=True),
    "status": text("status"),
    "started_at": instant("started, UTC", wide=True),
    "duration_seconds": number("seconds", "{:,.1f}"),
    "instruments": number("tickers", "{:.0f}"),
    **{action: number(action, "{:.0f}", wide=True, once=True) for action in charts.ACTIONS},
    "trigger": text("trigger", wide=True, once=True),
    "message": text("message", wide=True, once=True),
}
ALERTS: Columns = {
    "raised_at": instant("raised, UTC"),
    "condition": word("condition"),
    "message": text("what was seen"),
    "subject": text("about", wide=True),
    "cleared_at": instant("cleared, UTC", wide=True),
    "undelivered": number("undelivered", "{:.0f}", wide=True, once=True),
}
OUTCOMES: Columns = {
    "action": text("outcome"),
    "reason": word("reason"),
    "tickers": number("tickers", "{:.0f}"),
    "example": text("for example"),
    "message": text("what was said of it", wide=True),
}
EXCHANGES: Columns = {
    "calendar": text("exchange"),
    "session": day("last closed session"),
    "is_ready": Column(heading="finished", write=lambda is_ready: "yes" if is_ready else "no"),
    "tickers": number("tickers", "{:.0f}"),
    "behind": number("lack its bar", "{:.0f}"),
    "age_hours": number("newest bar, hours", "{:,.0f}"),
}
BEHIND: Columns = {
    "ticker": text("ticker"),
    "bar_session": day("newest bar"),
    "sessions_behind": number("sessions behind", "{:,.0f}"),
    "outcome_action": text("outcome", wide=True, once=True),
    "outcome_reason": word("reason", wide=True, once=True),
    "bar_provider": text("provider", wide=True, once=True),
}
FINDINGS: Columns = {
    "session": day("session"),
    "ticker": text("ticker"),
    "severity": text("severity"),
    "check_name": word("check"),
    "message": text("what was seen"),
    "observed": number("observed", "{:.4g}", wide=True),
    "threshold": number("threshold", "{:.4g}", wide=True),
}


def show() -> None:
    """Show alerts, runs, outcomes, the age of the data and findings."""
    st.header("Operations")
    _alerts(read(bi.alerts.latest, everything=True))
    runs = read(bi.runs.latest, RUNS)
    if runs.empty:
        nothing("Nothing has run yet.", "`stockbatch run` handles the last closed session.")
    else:
        _runs(runs)
        _outcomes(read(bi.runs.outcomes))
    _freshness(read(bi.freshness.of_calendars))
    _findings(read(bi.findings.latest))


def _alerts(data: pd.DataFrame) -> None:
    st.subheader("Alerts")
    on = data[data["is_open"].astype(bool)]
    for alert in on.to_dict("records"):
        words = f"{spaced(alert['condition'])} since {alert['raised_at']:%Y-%m-%d %H:%M} UTC: "
        st.error(escaped(words + alert["message"]))
    if on.empty:
        st.badge("no alert is on", icon=":material/check:", color="green")
    over = data[~data["is_open"].astype(bool)]
    if not over.empty:
        with st.expander(f"{len(over)} that are over"):
            listing(over, ALERTS, file="alerts")


def _runs(data: pd.DataFrame) -> None:
    st.subheader("Runs")
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
    listing(data, RUN_COLUMNS, file="runs")


def _outcomes(data: pd.DataFrame) -> None:
    if data.empty:
        return
    newest = data["session"].max()
    if (data["session"] < newest).any():  # of one session there is nothing to compare
        plot(charts.outcomes(data), height=300)
    st.subheader(f"Outcomes of {newest:%Y-%m-%d}, by reason")
    listing(data[data["session"] == newest], OUTCOMES, file="outcomes")


def _freshness(data: pd.DataFrame) -> None:
    st.subheader("Age of the data")
    if data.empty:
        nothing(
            "No ticker but demonstration data is on the watchlist.",
            "`stockbatch tickers add AAPL` puts one there.",
        )
        return
    listing(data, EXCHANGES, file="age")
    behind = read(bi.freshness.behind)
    if behind.empty:
        return
    furthest = counted(len(behind), "ticker")
    st.caption(f"{furthest} furthest behind; `stockbatch doctor` says what to mend.")
    listing(behind, BEHIND, file="behind", link=page_of)


def _findings(data: pd.DataFrame) -> None:
    st.subheader("Findings in the data")
    if data.empty:
        st.write("The checks found nothing.")
        return
    listing(data, FINDINGS, file="findings")
