"""The dashboard of one ticker."""

from deployment.grafana.panels import (
    AFTER_CLOSE,
    BLACK,
    BLUE,
    GREEN,
    KIND,
    METHOD,
    OF_KIND,
    ORANGE,
    PINK,
    PRICES,
    RED,
    RESTATED,
    SHOWN,
    TICKER,
    TIME,
    WINDOW,
    Json,
    annotation,
    band,
    colour,
    dashboard,
    of,
    panel,
    price,
)


def ticker() -> Json:
    panels = [candles(), fan(), predicted(), errors(), losses(), own_accuracy()]
    return dashboard("ticker", "Ticker", [TICKER, KIND, WINDOW], panels, [events(), splits()])


def events() -> Json:
    """Return the reports of a ticker and what else moves it, each at the session that it moves.

    Those ahead are marked as far as the chosen range goes.
    """
    return annotation(
        "events",
        f"""
        SELECT {TIME}, event || ' (' || event_date || ')' AS text,
            CASE WHEN kind = 'earnings' THEN 'report' ELSE kind END
                || CASE WHEN is_projected THEN ',not announced' ELSE '' END AS tags
        FROM bi.events
        WHERE ticker = ${{ticker:sqlstring}} AND is_current AND {SHOWN}
        ORDER BY session, event_id
        """,
    )


def splits() -> Json:
    """Return the sessions from which on a ticker trades split."""
    return annotation(
        "splits",
        f"""
        SELECT {TIME}, split AS text, 'split' AS tags
        FROM bi.splits
        WHERE ticker = ${{ticker:sqlstring}} AND {SHOWN}
        ORDER BY session
        """,
        PINK,
    )


def candles() -> Json:
    return panel(
        "candlestick",
        "${ticker}: prices, moving averages and the forecast of each session (${kind})",
        f"""
        SELECT {TIME}, {", ".join(price(name, name) for name in ("open", "high", "low", "close"))},
            volume, {", ".join(price(f"average_{n}", f"mean of {n}") for n in (20, 50, 200))},
            {price(f"CASE WHEN {OF_KIND} THEN forecast_close END", "forecast")},
            {price(f"CASE WHEN {OF_KIND} THEN close_low_80 END", "low 80 %")},
            {price(f"CASE WHEN {OF_KIND} THEN close_high_80 END", "high 80 %")}
        FROM bi.price_and_forecast
        WHERE ticker = ${{ticker:sqlstring}} AND {SHOWN}
        ORDER BY session
        """,
        description="Dashed: an event moved the session, or is to; pink: a split. "
        f"{AFTER_CLOSE} {RESTATED}",
        form="time_series",
        height=12,
        options={
            "mode": "candles+volume",
            "candleStyle": "candles",
            "colorStrategy": "open-close",
            "colors": {"up": BLUE, "down": RED},
            "fields": {},
            "includeAllFields": True,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        },
        overrides=[
            colour("mean of 20", ORANGE),
            colour("mean of 50", GREEN),
            colour("mean of 200", PINK),
            *(of(name, unit="string") for name in ("open", "high", "low", "close")),
            *(of(f"mean of {n}", unit="string") for n in (20, 50, 200)),
            *(of(name, unit="string") for name in ("forecast", "low 80 %", "high 80 %")),
            colour("forecast", BLACK, custom_lineStyle={"fill": "dash", "dash": [4, 4]}),
            *band(80, 15),
        ],
    )


def fan() -> Json:
    """Return the last weeks and the session to come, as a trend: its axis ends with the data."""
    return panel(
        "trend",
        "${ticker}: forecast and actual close, last weeks (${kind}) and next session",
        f"""
        SELECT extract(epoch FROM session)::double precision * 1000 AS session,
            {price("close", "actual")}, {price("forecast_close", "forecast")},
            {", ".join(price(f"close_low_{p}", f"low {p} %") for p in (50, 80, 95))},
            {", ".join(price(f"close_high_{p}", f"high {p} %") for p in (50, 80, 95))}
        FROM (
            SELECT * FROM bi.price_and_forecast
            WHERE ticker = ${{ticker:sqlstring}} AND {OF_KIND} AND session > (
                SELECT max(session) - 60 FROM bi.price_and_forecast
                WHERE ticker = ${{ticker:sqlstring}} AND forecast_kind = ${{kind:sqlstring}}
            )
            ORDER BY session DESC
            LIMIT 30
        ) AS last
        ORDER BY session
        """,
        description=f"Bands: 50, 80 and 95 % of actual closes should lie inside. {RESTATED}",
        width=12,
        options={"xField": "session"},
        overrides=[
            *(of(name, unit="string") for name in ("actual", "low 50 %", "high 50 %", *PRICES[1:])),
            *band(95, 10),
            *band(80, 15),
            *band(50, 20),
            colour("forecast", ORANGE, custom_lineWidth=2),
            colour("actual", BLACK, custom_lineWidth=2, custom_showPoints="always"),
        ],
    )


def predicted() -> Json:
    return panel(
        "timeseries",
        "${ticker}: predicted against actual change, % (${kind})",
        f"""
        SELECT {TIME}, actual_return_pct AS actual, forecast_return_pct AS predicted
        FROM bi.forecast_history
        WHERE ticker = ${{ticker:sqlstring}} AND kind = ${{kind:sqlstring}} AND {METHOD}
            AND {SHOWN}
        ORDER BY session
        """,
        form="time_series",
        width=12,
        unit="percent",
        overrides=[colour("actual", BLACK), colour("predicted", ORANGE)],
    )


def errors() -> Json:
    return panel(
        "timeseries",
        "${ticker}: error of the forecast close, % (${kind}; actual - forecast)",
        f"""
        SELECT {TIME}, error_pct AS error
        FROM bi.forecast_history
        WHERE ticker = ${{ticker:sqlstring}} AND kind = ${{kind:sqlstring}} AND {METHOD}
            AND score_status = 'scored' AND {SHOWN}
        ORDER BY session
        """,
        form="time_series",
        width=12,
        unit="percent",
        custom={"drawStyle": "bars", "fillOpacity": 60},
        overrides=[colour("error", BLUE)],
    )


def losses() -> Json:
    return panel(
        "trend",
        "${ticker}: training and validation loss of the newest model",
        """
        SELECT epoch, training_loss AS training, validation_loss AS validation
        FROM bi.training_history
        WHERE ticker = ${ticker:sqlstring} AND model_id = (
            SELECT max(model_id) FROM bi.training_history
            WHERE ticker = ${ticker:sqlstring} AND model_kind = 'ticker'
        )
        ORDER BY epoch
        """,
        description="Pinball loss by epoch. A validation loss that rises while the other falls: "
        "overfitting; the weights of the best epoch are kept.",
        width=12,
        options={"xField": "epoch"},
        overrides=[colour("training", BLUE), colour("validation", RED)],
    )


def own_accuracy() -> Json:
    return panel(
        "table",
        "${ticker}: accuracy by method, last ${window} sessions (${kind})",
        f"""
        SELECT method, max(n) AS forecasts,
            {price("max(value) FILTER (WHERE metric = 'mae' AND value > 0)", "mean error")},
            max(skill_pct) FILTER (WHERE metric = 'mae') AS "skill vs naive %",
            max(value) FILTER (WHERE metric = 'pinball') AS pinball,
            max(skill_pct) FILTER (WHERE metric = 'pinball') AS "skill vs rolling quantile %",
            100 * max(value) FILTER (WHERE metric = 'coverage_80') AS "inside 80 %",
            100 * max(value) FILTER (WHERE metric = 'coverage_95') AS "inside 95 %",
            100 * max(value) FILTER (WHERE metric = 'directional_accuracy') AS "direction right %"
        FROM bi.accuracy
        WHERE ticker = ${{ticker:sqlstring}} AND kind = ${{kind:sqlstring}}
            AND window_sessions = ${{window}}
        GROUP BY method
        ORDER BY method
        """,
        decimals=2,
        overrides=[of("pinball", decimals=5), of("mean error", unit="string")],
    )
