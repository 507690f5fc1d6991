"""`stockbatch tune`: which engine settings would have done better, and by how much."""

import json
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands import context, options

if TYPE_CHECKING:
    from jobs.replay.tune import Trial, Tuned
    from stockbatch.config import ModelSettings
    from stockbatch.metrics import Skill


def tune(
    before: Annotated[date, options.day("--before", about="Nothing from here on is looked at.")],
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 20,
    sessions: Annotated[
        int, typer.Option(min=20, help="Sessions that choose; as many later ones confirm.")
    ] = 126,
    sample: Annotated[
        int, typer.Option(min=1, help="At most so many tickers, drawn by lot.")
    ] = 100,
    tickers: options.Tickers = None,
    exchange: options.Exchange = None,
) -> None:
    """Search engine settings on past sessions and print what would change; nothing is changed."""
    context.require("stockbatch tune", "optuna", extra="tune")
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.replay import tune as job

    settings = context.settings(exchange=exchange)

    def show(trial: "Trial") -> None:
        changes = _changes(settings.model, trial.settings)
        what = " ".join(f"{key}={value}" for key, value in changes.items()) or "settings in use"
        typer.echo(f"loss {trial.loss:.5f}  {_percent(trial.skill)}  {what}")

    with running(settings, create=False) as app:
        for code in calendars_of(app, settings.exchange, tickers):
            typer.echo(f"{code}, before {before}")
            tuned = job.tune(
                app,
                code,
                before,
                trials=trials,
                judging=sessions,
                most_tickers=sample,
                tickers=tickers,
                on_trial=show,
            )
            typer.echo(_conclusion(tuned, _changes(settings.model, tuned.best.settings)))


def _conclusion(tuned: "Tuned", changes: dict[str, Any]) -> str:
    if not changes:
        return "\nNo trial did better than the settings in use: nothing to change."
    lines = [
        "",
        f"Best on {tuned.chosen_on[0]} to {tuned.chosen_on[1]}: {_percent(tuned.best.skill)} less"
        " loss than the settings in use, flattered by having been chosen.",
        f"On {tuned.confirmed_on[0]} to {tuned.confirmed_on[1]}, which had no say:"
        f" {_percent(tuned.confirmed)}.",
    ]
    if not tuned.is_better:
        lines.append("That is no more than chance may give: keep the settings in use.")
        return "\n".join(lines)
    lines += [
        "It would change, in stockbatch.toml (every ticker is then retrained):",
        "",
        "[model]",
    ]
    return "\n".join(lines + [f"{key} = {json.dumps(value)}" for key, value in changes.items()])


def _changes(current: "ModelSettings", proposed: "ModelSettings") -> dict[str, Any]:
    old, new = current.model_dump(), proposed.model_dump()
    return {key: value for key, value in new.items() if value != old[key]}


def _percent(skill: "Skill") -> str:
    return f"{100 * skill.value:+.2f} ± {100 * skill.standard_error:.2f} %"
