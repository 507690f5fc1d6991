"""What all who work together have to have alike, and how it is told where they have not."""

from jobs.workers import agreement
from stockbatch.config import Settings


def test_of_settings_that_differ_those_alone_are_told(tmp_path):
    here = Settings(home=tmp_path)
    assert not agreement.unlike(agreement.stated(here), agreement.stated(here))
    model = here.model.model_copy(update={"seed": 7, "loss": "student"})
    there = here.model_copy(update={"model": model, "retrain_after_sessions": 99})
    assert agreement.unlike(agreement.stated(there), agreement.stated(here)) == (
        f"retrain_after_sessions is 99 there and {here.retrain_after_sessions} here;"
        f" model.seed is 7 there and {here.model.seed} here;"
        f" model.loss is student there and {here.model.loss} here"
    )
