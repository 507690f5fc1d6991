"""What a job is given."""

from jobs.app import App
from stockbatch.config import Settings
from stockbatch.providers.demo import Demo


def test_a_provider_handed_in_is_used_and_others_are_made_once(tmp_path):
    own = Demo()
    app = App(settings=Settings(home=tmp_path), engine=None, trainer=None, providers={"own": own})
    assert app.provider("own") is own
    made = app.provider("demo")
    assert isinstance(made, Demo)
    assert made is not own
    assert app.provider("demo") is made
