"""The page of one ticker, which the URL names: prices, forecasts, errors and training."""

import pandas as pd
import streamlit as st

from jobs.pictures import charts, headline
from jobs.pictures.dashboard.page import escaped, figures, listing, nothing, plot, read
from jobs.pictures.frames import awaited, best_first
from jobs.pictures.tables import Column, Columns, Row, instant, method, number, spaced, text, titled
from jobs.words import DEMONSTRATION, KINDS, price
from stockbatch.records import ForecastOrder, ModelKind
from stockbatch.store import bi
from stockbatch.store.bi.prices import MOST_SESSIONS
from stockbatch.text import counted, printable

SPANS = {"3 months": 63, "6 months": 126, "1 year": 252, "2 years": 504, "5 years": 1260}
ZOOMS = {"3 weeks": 15, "6 weeks": 30, "3 months": 63, "1 year": 252, "all": MOST_SESSIONS}
METHODS: Columns = {
    "method": method(),
    **{
        name: column
        for name, column in headline.FORECASTS.items()
        if name not in ("ticker", "event", "why", "point", "session", "method", "currency")
    },
    "forecast_close": Column(heading="forecast", write=price, wide=True),
    "close_low_80": Column(heading="80 % from", write=price, wide=True),
    "close_high_80": Column(heading="to", write=price, wide=True),
}
NEWS: Columns = {
    "published_at": instant("published"),
    "score": number("score", "{:+.2f}", about="How the title sounds: -1 bad, 1 good."),
    "title": text("title", prose=True),
    "source": text("source", wide=True),
}
LAST_NEWS = 10


def show() -> None:
    """Show one ticker, beside up to three others if the visitor likes."""
    latest = read(bi.forecasts.latest_with_skill, ForecastOrder.LARGEST_EXPECTED_MOVE)
    latest = latest.set_index("ticker", drop=False).sort_index()
    asked = st.query_params.get("ticker")
    if latest.empty:
        st.header("Ticker")
        nothing("There is no forecast yet.", "`stockbatch demo` or `stockbatch run` makes some.")
        return
    tickers = list(latest.index)
    if asked and asked not in tickers:
        st.warning(
            "There is no forecast of the ticker that the address names; "
            "`stockbatch tickers list` shows all there are."
        )
    names = latest["name"].fillna("")
    left, right = st.columns(2)
    with left:
        ticker = st.selectbox(
            "Ticker or name",
            tickers,
            index=tickers.index(asked) if asked in tickers else 0,
            format_func=lambda one: _titled(one, names[one]),
        )
    with right:
        others = st.multiselect(
            "Compare with",
            [one for one in tickers if one != ticker],
            key=f"compared with {ticker}",
            max_selections=len(charts.COMPARED) - 1,
            format_func=lambda one: _titled(one, names[one]),
            default=_others(tickers, ticker),
            placeholder="up to three others",
        )
    st.query_params.from_dict({"ticker": ticker, "compare": others})
    title = _titled(ticker, names[ticker])
    st.set_page_config(page_title=f"{printable(title)} · stockbatch")
    st.header(escaped(title))
    events = read(bi.events.current, ticker)
    prices = read(bi.prices.of_ticker, ticker)
    _next_session(latest.loc[ticker], best_first(read(bi.forecasts.of_ticker, ticker)), events)
    if others:
        _comparison(latest.loc[[ticker, *others]])
    _news(ticker, read(bi.news.newest, ticker, LAST_NEWS))
    _prices(prices, events, read(bi.splits.of_ticker, ticker))
    _predictions(prices, events, read(bi.forecasts.errors, ticker))
    _training(read(bi.models.losses, ticker))


def _others(tickers: list[str], ticker: str) -> list[str]:
    """Return the tickers that the address compares this one with."""
    asked = dict.fromkeys(st.query_params.get_all("compare"))
    return [one for one in asked if one in tickers and one != ticker][: len(charts.COMPARED) - 1]


def _titled(ticker: str, name: str) -> str:
    return f"{ticker} · {name}" if name else ticker


def _next_session(best: pd.Series, methods: pd.DataFrame, events: pd.DataFrame) -> None:
    """Show the latest forecast by the best method, and the others beside it."""
    st.caption(f"Forecast of session {best['session']:%Y-%m-%d}")
    figures(headline.of_one(best))
    for line in awaited(best, events):
        st.badge(escaped(line), icon=":material/event:", color="orange")
    if not pd.isna(best["why"]):
        st.markdown(escaped(best["why"]))
    st.markdown(escaped(headline.point(best)))
    state = [] if best["is_current"] else ["this session is over: the forecast is old"]
    said = [KINDS[str(best["kind"])], f"method: {titled(best['method'])}", *state]
    st.caption(escaped(" · ".join(said)))
    if best["is_demo"]:
        st.warning(DEMONSTRATION)
    with st.expander("By every method"):
        listing(headline.rows_of(methods), METHODS, file=f"{best['ticker']}-methods")


def _news(ticker: str, data: pd.DataFrame) -> None:
    """Show the last titles, which lead to where they stand; nothing where there are none."""
    if len(data):
        with st.expander("Last news", expanded=True):
            listing(data, NEWS, file=f"{ticker}-news", link=_place)


def _place(row: Row) -> str | None:
    return None if pd.isna(row["url"]) else str(row["url"])


def _comparison(latest: pd.DataFrame) -> None:
    st.subheader("Compared")
    listing(headline.rows_of(latest), headline.FORECASTS, file="compared")
    prices = {ticker: read(bi.prices.of_ticker, ticker).tail(253) for ticker in latest["ticker"]}
    plot(charts.compared(prices))


def _prices(data: pd.DataFrame, events: pd.DataFrame, splits: pd.DataFrame) -> None:
    span = st.segmented_control(
        "Prices of the last", list(SPANS), default="6 months", required=True
    )
    plot(charts.price(data.tail(SPANS[span] + 1), events, splits), height=420)


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
    # Charts take a browser longer than all else: what is looked at seldom waits until it is.
    with st.expander("How its model was trained", key="training", on_change="rerun") as box:
        if box.open:
            _curves(data)


def _curves(data: pd.DataFrame) -> None:
    models = [rows for _, rows in data.groupby("model_kind", sort=False)]
    for box, rows in zip(st.columns(len(models)), models, strict=True):
        with box:
            plot(charts.losses(rows), height=300)
            model = rows.iloc[0]
            better = _than_the_base(model["gain_pct"])
            is_base = model["model_kind"] == ModelKind.BASE
            pooled = f", of {counted(model['tickers'], 'ticker')}" if is_base else ""
            st.caption(
                f"model {model['model_id']}{pooled} · "
                f"trained because: {escaped(spaced(model['reason']))} · "
                f"verdict: {escaped(spaced(model['verdict']))}{better}"
            )


def _than_the_base(gain: float | None) -> str:
    if pd.isna(gain):  # None where no model has any
        return ""
    return f" · {abs(gain):.2f} % {'less' if gain > 0 else 'more'} loss than the base"
