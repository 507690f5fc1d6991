from datetime import date

from stockbatch.config import ModelSettings, Settings
from stockbatch.engine.seeds import seed

SETTINGS = Settings(model=ModelSettings())


def test_a_seed_depends_on_name_and_origin_and_settings():
    origin = date(2021, 1, 4)
    other = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"seed": 2})})
    seeds = [
        seed("AAA", origin, SETTINGS),
        seed("BBB", origin, SETTINGS),
        seed("AAA", date(2021, 1, 5), SETTINGS),
        seed("AAA", origin, other),
    ]
    assert len(set(seeds)) == 4
    assert seed("AAA", origin, SETTINGS) == seeds[0]
