-- Questions people ask, answered from schema `bi`; run them as stockbatch_reader.
-- `kind` tells live forecasts from late ones and backtests: group by it, never add them up.

-- What is forecast for the next session? The most unusual first, with its reasons.
SELECT ticker, name, session, kind, is_current, expected_move_pct, move_ratio, why, event,
    downside_pct, upside_pct, probability_of_rise_pct, probability_of_fall_pct, forecast_close
FROM bi.next_session_forecast
WHERE is_headline
ORDER BY move_ratio DESC NULLS LAST, ticker;

-- Where may most be lost? Largest downside first: one close in twenty is expected below.
SELECT ticker, session, downside_pct, probability_of_move_5_pct, origin_close, currency
FROM bi.next_session_forecast
WHERE is_headline
ORDER BY downside_pct, ticker;

-- What makes a move larger or smaller than usual? Mean factor of every reason by session.
SELECT session, reason, exp(avg(ln(factor))) AS mean_factor, count(*) AS tickers
FROM bi.forecast_reasons
WHERE method = 'combined' AND session > (SELECT max(session) - 30 FROM bi.next_session_forecast)
GROUP BY session, reason
ORDER BY session DESC, mean_factor DESC;

-- Were the intervals kept? Of each ticker's last 60 sessions; below 0: too narrow.
SELECT ticker, kind, method, interval_pct, n, coverage_pct, deviation_pct
FROM bi.interval_coverage
WHERE scope = 'ticker' AND is_headline AND window_sessions = 60
ORDER BY ticker, kind, interval_pct;

-- Is it better than the naive forecast and the other baselines? Above 0: yes.
SELECT DISTINCT ON (calendar, kind, window_sessions, method)
    calendar, kind, window_sessions, method, session, n,
    mae_return_skill_pct AS skill_vs_naive_pct,
    skill_vs_rolling_quantile_pct, skill_vs_rolling_quantile_error_pct, share_better_pct
FROM bi.leaderboard
ORDER BY calendar, kind, window_sessions, method, session DESC;

-- Which tickers are forecast worst? Lowest skill against rolling quantiles first.
SELECT ticker, kind, method, n, value AS pinball, baseline, skill_pct
FROM bi.accuracy
WHERE scope = 'ticker' AND is_headline AND metric = 'pinball' AND window_sessions = 250
ORDER BY skill_pct NULLS LAST, ticker
LIMIT 20;

-- How well is each sector forecast, and how sure is that? Above 0: better than the rolling quantiles.
-- The error is clustered by session: two of them apart is more than chance.
SELECT group_name, calendar, method, kind, tickers, n, skill_vs_rolling_quantile_pct,
    skill_vs_rolling_quantile_error_pct, coverage_80_pct
FROM bi.group_accuracy
WHERE group_kind = 'sector' AND window_sessions = 250
ORDER BY group_name, calendar, kind, skill_vs_rolling_quantile_pct DESC NULLS LAST;

-- Who fell back to something simpler than a model of its own, and why?
SELECT o.session, o.ticker, o.action, o.reason, o.message
FROM bi.outcomes AS o
JOIN (SELECT calendar, max(session) AS session FROM bi.run_history GROUP BY calendar) AS last
    USING (calendar, session)
WHERE o.action IN ('base', 'naive', 'none')
ORDER BY o.action, o.ticker;

-- How old are the data? Oldest first; sessions_behind = 0: up to date, NULL: no bar at all.
SELECT ticker, bar_session, sessions_behind, age_hours, bar_provider, outcome_reason
FROM bi.data_freshness
ORDER BY bar_session NULLS FIRST, ticker;

-- Is the last session complete? Wait for it before a refresh or a report.
SELECT calendar, session, bool_and(is_ready) AS is_ready,
    count(*) FILTER (WHERE sessions_behind = 0) AS tickers_up_to_date, count(*) AS tickers
FROM bi.data_freshness
WHERE NOT is_demo
GROUP BY calendar, session
ORDER BY calendar;

-- How did the last ten forecasts of each ticker do?
SELECT ticker, session, method, kind, forecast_close, actual_close, error_pct, inside_80
FROM (
    SELECT h.*, row_number() OVER (PARTITION BY ticker ORDER BY session DESC) AS number
    FROM bi.forecast_history AS h
    JOIN bi.price_and_forecast AS shown USING (ticker, session, method)
    WHERE score_status = 'scored' AND session > (SELECT max(session) FROM bi.run_history) - 60
) AS scored
WHERE number <= 10
ORDER BY ticker, session DESC;

-- Which method is shown first, and from which session on? NULL: from the beginning.
SELECT from_session, method, title, set_at
FROM bi.headlines
ORDER BY from_session NULLS FIRST, set_at;

-- Up to which session do baselines' forecasts stand in files, and in no other view? NULL: none does.
SELECT calendar, max(through_session) AS through_session, max(folder) AS folder,
    coalesce(sum(a.forecasts), 0) AS forecasts
FROM (SELECT DISTINCT calendar FROM bi.instruments) AS exchange
LEFT JOIN bi.archives AS a USING (calendar)
GROUP BY calendar
ORDER BY calendar;

-- Who reports next, and since when is it known? What is projected, nobody has stated.
SELECT session, ticker, event, source, known_at, is_projected
FROM bi.events
WHERE kind = 'earnings' AND is_current AND session > (SELECT max(session) FROM bi.run_history)
ORDER BY session, ticker
LIMIT 100;

-- Of which tickers are there more news than usual, or better or worse ones?
SELECT session, ticker, items, usual_items, mean_score, usual_score, score_deviation
FROM bi.sentiment
WHERE is_unusual
ORDER BY session DESC, abs(score_deviation) DESC NULLS LAST
LIMIT 100;

-- Which bars were doubted, and what became of them?
SELECT session, ticker, check_name, severity, message, observed, threshold
FROM bi.data_issues
ORDER BY updated_at DESC, issue_id DESC
LIMIT 100;

-- How did the last runs go?
SELECT calendar, session, trigger, status, duration_seconds, instruments, trained, reused, base,
    naive, none, message
FROM bi.run_history
ORDER BY started_at DESC
LIMIT 20;

-- Is anything wrong? Open alerts first.
SELECT raised_at, cleared_at, condition, subject AS exchange, session, message
FROM bi.alerts
ORDER BY is_open DESC, raised_at DESC
LIMIT 20;

-- Does the newest model of each ticker overfit? A gap that grows: yes.
SELECT ticker, session, epoch, training_loss, validation_loss, generalisation_gap, is_best_epoch
FROM bi.training_history
WHERE model_id IN (
    SELECT max(model_id) FROM bi.training_history WHERE model_kind = 'ticker' GROUP BY ticker
)
ORDER BY ticker, epoch;

-- What changed since I last looked? The start of an incremental load, as of any fact.
SELECT ticker, session, method, kind, forecast_close, score_status, actual_close, updated_at
FROM bi.forecast_history
WHERE updated_at >= now() - interval '1 day';
