"""The page of one ticker, which the URL names: prices, forecasts, errors and training."""

import pandas as pd
import streamlit as st

from jobs.pictures import charts
from jobs.pictures.dashboard.page import (
    PRICE,
    Columns,
    escaped,
    figures,
    nothing,
    plot,
    read,
    table,
)
from jobs.pictures.frames import awaited, best_first
from jobs.words import DEMONSTRATION, KINDS, price
from stockbatch.records import ModelKind
from stockbatch.store import bi
from stockbatch.store.bi.prices import MOST_SESSIONS

SPANS = {"3 months": 63, "1 year": 252, "2 years": 504, "5 years": 1260}
ZOOMS = {"3 weeks": 15, "6 weeks": 30, "3 months": 63, "1 year": 252, "all": MOST_SESSIONS}


def show() -> None:
    """Show one ticker."""
    st.header("Ticker")
    tickers = list(read(bi.forecasts.latest_with_skill)["ticker"])
    asked = st.query_params.get("ticker")
    if asked and asked not in tickers:
        st.warning(
            "There is no forecast of the ticker that the address names; "
            "`stockbatch tickers list` shows all there are."
        )
    if not tickers:
        nothing("There is no forecast yet.", "`stockbatch demo` or `stockbatch run` makes some.")
        return
    first = tickers.index(asked) if asked in tickers else 0
    ticker = st.selectbox("Ticker", tickers, index=first, label_visibility="collapsed")
    st.query_params["ticker"] = ticker
    events = read(bi.events.current, ticker)
    _next_session(best_first(read(bi.forecasts.of_ticker, ticker)), events)
    prices = read(bi.prices.of_ticker, ticker)
    _prices(prices, events)
    _predictions(prices, events, read(bi.forecasts.errors, ticker))
    _training(read(bi.models.losses, ticker))


def _next_session(data: pd.DataFrame, events: pd.DataFrame) -> None:
    """Show the latest forecast by the best method, and the others beside it."""
    best = data.iloc[0]
    low, high = best["close_low_80"], best["close_high_80"]
    rise = best["probability_of_rise_pct"]
    currency = escaped(best["currency"] or "currency unknown")
    figures(
        {
            "Target session": f"{best['session']:%Y-%m-%d}",
            f"Forecast, {currency}": price(best["forecast_close"]),
            "Naive: the last close": price(best["origin_close"]),
            "Change": f"{best['forecast_return_pct']:+.2f} %",
            "80 % interval": "none" if pd.isna(low) else f"{price(low)} to {price(high)}",
            "P(rise)": "unknown" if pd.isna(rise) else f"{rise:.0f} %",
        }
    )
    state = [] if best["is_current"] else ["this session is over: the forecast is old"]
    said = [KINDS[str(best["kind"])], f"method {best['method']}", *state, *awaited(best, events)]
    st.caption(" · ".join(map(escaped, said)))
    if best["is_demo"]:
        st.warning(DEMONSTRATION)
    with st.expander("By every method"):
        number = st.column_config.NumberColumn
        columns: Columns = {
            "method": "method",
            "forecast_close": number("forecast", format=PRICE),
            "forecast_return_pct": number("change", format="%+.2f %%"),
            "close_low_80": number("80 % from", format=PRICE),
            "close_high_80": number("to", format=PRICE),
            "close_low_95": number("95 % from", format=PRICE),
            "close_high_95": number("to ", format=PRICE),
            "probability_of_rise_pct": number("P(rise)", format="%.0f %%"),
            "kind": "kind",
        }
        table(data, columns)


def _prices(data: pd.DataFrame, events: pd.DataFrame) -> None:
    span = st.segmented_control("Prices of the last", list(SPANS), default="1 year", required=True)
    plot(charts.price(data.tail(SPANS[span] + 1), events))


def _predictions(prices: pd.DataFrame, events: pd.DataFrame, errors: pd.DataFrame) -> None:
    zoom = st.segmented_control(
        "Forecasts of the last", list(ZOOMS), default="6 weeks", required=True
    )
    known = prices[prices["forecast_close"].notna()].tail(ZOOMS[zoom] + 1)
    plot(charts.predicted_and_actual(known, events))
    st.caption("Kinds: " + ", ".join(KINDS[str(kind)] for kind in known["forecast_kind"].unique()))
    recent = errors[errors["session"] >= known["session"].min()]
    if recent.empty:
        nothing("No forecast of this ticker has been scored.", "The next run scores it.")
    else:
        plot(charts.error(recent), height=280)


def _training(data: pd.DataFrame) -> None:
    if data.empty:
        nothing("No model of its own was trained for this ticker.", "The base model serves it.")
        return
    models = [rows for _, rows in data.groupby("model_kind", sort=False)]
    for box, rows in zip(st.columns(len(models)), models, strict=True):
        with box:
            plot(charts.losses(rows), height=300)
            model = rows.iloc[0]
            gain = model["gain_pct"]
            better = "" if pd.isna(gain) else f" · {gain:+.2f} % less loss than the base"
            pooled = (
                f", of {model['tickers']} tickers" if model["model_kind"] == ModelKind.BASE else ""
            )
            st.caption(
                f"model {model['model_id']}{pooled} · "
                f"trained because: {escaped(model['reason'])} · "
                f"verdict: {escaped(model['verdict'])}{better}"
            )
