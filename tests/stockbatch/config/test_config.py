import os
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from stockbatch import config, database
from stockbatch.config import ModelSettings, Settings
from stockbatch.config import text as settings_file
from stockbatch.engine.network import NETWORKS
from stockbatch.exceptions import ConfigurationError
from stockbatch.providers import registry
from tests.support.places import ROOT

MODELS = registry.models()
SECRET = "postgresql://writer:hunter2@db.example/stocks"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An environment with nothing set but an empty state folder."""
    for name in list(os.environ):
        if name.upper().startswith(config.PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STOCKBATCH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def write(home):
    """Write the settings file of the state folder."""

    def write_text(text):
        file = home / "stockbatch.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_text


def told(**options):
    with pytest.raises(ConfigurationError) as caught:
        config.load(**options)
    return caught.value


def test_defaults(home):
    settings = config.load()
    assert settings.home == home
    assert settings.database_url is None
    assert settings.exchange is None
    assert settings.model == ModelSettings()


def test_option_beats_environment_beats_file_beats_default(write, monkeypatch):
    assert config.load().threads == 0
    write("threads = 1\n[model]\nunits = 11\nlayers = 2\nepochs = 3\n")
    assert config.load().threads == 1
    monkeypatch.setenv("STOCKBATCH_THREADS", "2")
    monkeypatch.setenv("STOCKBATCH_MODEL__UNITS", "12")
    monkeypatch.setenv("STOCKBATCH_MODEL__EPOCHS", "4")
    assert config.load().threads == 2
    settings = config.load(threads=3, model={"units": 13})
    assert settings.threads == 3
    model = settings.model
    assert (model.units, model.epochs, model.layers) == (13, 4, 2)
    assert model.batch == ModelSettings().batch


def test_an_option_not_given_is_no_option(write):
    write("threads = 1\n")
    assert config.load(threads=None).threads == 1


def test_the_file_is_the_named_one_else_that_of_the_state_folder(write, tmp_path):
    write("threads = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("threads = 2\n")
    assert config.load(other).threads == 2
    assert config.load().threads == 1
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigurationError, match=r"--config: .*missing.toml: there is no such"):
        config.load(missing)


def test_the_state_folder_follows_xdg_then_home(monkeypatch, tmp_path):
    monkeypatch.delenv("STOCKBATCH_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config.load().home == tmp_path / "state" / "stockbatch"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.load().home == tmp_path / ".local" / "state" / "stockbatch"
    monkeypatch.setenv("STOCKBATCH_HOME", "~/elsewhere")
    assert config.load().home == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("thread = 1", "thread", "unknown; did you mean threads?"),
        ("xyzzy = 1", "xyzzy", "unknown"),
        ("threads = 'many'", "threads", "valid integer"),
        ("threads = -1", "threads", "greater than or equal to 0"),
        ("[model]\nunitz = 1", "model.unitz", "unknown; did you mean units?"),
        ("[model]\ndropout = 1.0", "model.dropout", "less than 1"),
        ("model = 3", "model", "dictionary"),
        ("threads = = 3", "syntax", "line 1"),
    ],
)
def test_a_bad_file_is_told_by_file_and_key(write, text, key, reason):
    file = write(text)
    error = told()
    assert error.values["source"] == file
    assert error.values["key"] == key
    assert reason in str(error)


def test_a_file_that_cannot_be_read_is_told(home, write, monkeypatch):
    (home / "stockbatch.toml").write_bytes(b"\xff\xfe")
    assert told().values["key"] == "syntax"
    file = write("threads = 1")

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert str(told()) == f"{file}: file: Permission denied"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("STOCKBATCH_THREAD", "1", "did you mean STOCKBATCH_THREADS?"),
        ("STOCKBATCH_XYZZY", "1", "'stockbatch config show' lists them"),
        ("STOCKBATCH_THREADS", "many", "valid integer"),
        ("STOCKBATCH_MODEL__UNITS", "0", "greater than or equal to 1"),
        ("STOCKBATCH_MODEL__UNITZ", "1", "did you mean STOCKBATCH_MODEL__UNITS?"),
        ("STOCKBATCH_MODEL", '{"units": 1}', "unknown"),
    ],
)
def test_a_bad_variable_is_told_by_name(write, monkeypatch, variable, value, reason):
    write("exchange = 'XLON'\n")
    monkeypatch.setenv(variable, value)
    error = told()
    assert error.values["source"] == "environment"
    assert error.values["key"] == variable
    assert reason in str(error)


def test_an_empty_variable_sets_nothing(write, monkeypatch):
    write("threads = 1\n")
    monkeypatch.setenv("STOCKBATCH_THREADS", "")
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", "")
    assert config.load().threads == 1
    assert config.load().database_url is None


@pytest.mark.parametrize(
    ("options", "key", "reason"),
    [
        ({"thread": 1}, "thread", "did you mean threads?"),
        ({"threads": "many"}, "threads", "valid integer"),
        ({"model": {"units": 0}}, "model.units", "greater than or equal to 1"),
        ({"model": {"unitz": 1}}, "model.unitz", "did you mean units?"),
    ],
)
def test_a_bad_option_is_told_whatever_else_is_set(write, monkeypatch, options, key, reason):
    write("threads = 1\n[model]\nunits = 2\n")
    monkeypatch.setenv("STOCKBATCH_THREADS", "2")
    monkeypatch.setenv("STOCKBATCH_MODEL__UNITS", "3")
    error = told(**options)
    assert error.values["source"] == "options"
    assert error.values["key"] == key
    assert reason in str(error)


def test_passwords_are_shown_to_nobody(monkeypatch, write):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", SECRET)
    settings = config.load()
    assert settings.database_url == SecretStr(SECRET)
    shown = [str(settings), repr(settings), settings.model_dump_json(), str(settings.model_dump())]
    write(f"databse_url = '{SECRET}'\n")
    shown.append(str(told()))
    shown.append(str(told(database_url=[SECRET])))
    assert not any("hunter2" in text for text in shown)


def test_settings_cannot_be_changed():
    settings = config.load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.threads = 4
    with pytest.raises(ValidationError, match="frozen"):
        settings.model.units = 4


def another(field):
    """Return a value of an engine setting that is not its default."""
    if isinstance(field.default, str):
        return get_args(field.annotation)[-1]
    return field.default / 2 if isinstance(field.default, float) else field.default + 1


def test_every_engine_setting_and_no_other_is_in_the_engine_hash():
    plain = Settings().engine_hash()
    assert plain == Settings(threads=4, exchange="XLON", retrain_after_sessions=1).engine_hash()
    for name, field in ModelSettings.model_fields.items():
        changed = Settings(model=ModelSettings(**{name: another(field)})).engine_hash()
        # Every kind of network has models of its own.
        assert (changed == plain) == (name == "network"), name


def test_models_of_earlier_releases_stay_in_use():
    """What is hashed where nothing is set is what it was when there was one kind of network."""
    before = "04abe7014130b2e0d7d4443e2a6e2506f1937d555c59f520670c0ac085106f7d"
    assert Settings().engine_hash() == before


def test_every_network_can_be_set_and_nothing_else():
    names = get_args(ModelSettings.model_fields["network"].annotation)
    assert list(names) == list(NETWORKS) == [network.name for network in NETWORKS.values()]
    expected = "model.network: Input should be 'lstm'"
    with pytest.raises(ConfigurationError, match=expected):
        config.load(model={"network": "mlp"})


# ---- secrets in files, and all problems at once


def test_a_secret_can_be_in_a_file(monkeypatch, tmp_path, write):
    file = tmp_path / "url"
    file.write_text(SECRET + "\n")
    write("database_url = 'postgresql://other@host/db'\n")
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL_FILE", str(file))
    assert config.load().database_url == SecretStr(SECRET)
    assert config.load(database_url="postgresql://option@host/db") != config.load()


def test_a_secret_set_twice_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", SECRET)
    assert "keep one of the two" in str(told())


def test_a_missing_secret_file_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL_FILE", str(tmp_path / "url"))
    error = told()
    assert error.values["key"] == "STOCKBATCH_DATABASE_URL_FILE"
    assert "url: No such file" in str(error)


def test_only_secrets_can_be_in_files(monkeypatch, tmp_path):
    monkeypatch.setenv("STOCKBATCH_THREADS_FILE", str(tmp_path / "threads"))
    assert "unknown" in str(told())


def test_alert_urls_come_from_file_and_variable(monkeypatch, write):
    write("alert_urls = ['json://one', 'mailto://me:hunter2@host']\n")
    assert [url.get_secret_value() for url in config.load().alert_urls] == [
        "json://one",
        "mailto://me:hunter2@host",
    ]
    assert 'alert_urls = ["json://***", "mailto://***"]' in settings_file.describe(
        config.load(), MODELS
    )
    monkeypatch.setenv("STOCKBATCH_ALERT_URLS", "json://two\nslack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl")
    assert len(config.load().alert_urls) == 2
    shown = settings_file.describe(config.load(), MODELS) + repr(config.load())
    assert "TIiajkdnl" not in shown


def test_an_alert_url_that_is_none_is_not_shown(monkeypatch):
    monkeypatch.setenv("STOCKBATCH_ALERT_URLS", "xoxb-hunter2 mail:to:hunter2")
    shown = settings_file.describe(config.load(), MODELS)
    assert 'alert_urls = ["***", "***"]' in shown


def test_an_empty_variable_means_nothing_where_the_help_says_so(monkeypatch, write):
    write("monitoring_address = '127.0.0.1:1'\nthreads = 3\nexchange = 'XLON'\n")
    for name in ("MONITORING_ADDRESS", "THREADS", "EXCHANGE", "DATABASE_URL"):
        monkeypatch.setenv(f"STOCKBATCH_{name}", "")
    settings = config.load()
    assert settings.monitoring_address == ""
    assert (settings.threads, settings.exchange) == (3, "XLON")
    assert settings.database_url is None
    assert config.load(monitoring_address="[::1]:2").monitoring_address == "[::1]:2"


def test_a_folder_is_no_settings_file(home):
    folder = home / "stockbatch.toml"
    folder.mkdir()
    assert str(told()) == f"settings: {folder}: that is no file"
    with pytest.raises(ConfigurationError, match=r"^--config: .*: that is no file$"):
        config.load(home)


def test_every_secret_is_known_to_who_hides_it(monkeypatch):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", SECRET)
    monkeypatch.setenv("STOCKBATCH_ALERT_URLS", "json://two")
    assert config.secrets(config.load(), MODELS) == {SECRET, "json://two"}
    monkeypatch.setenv(
        "STOCKBATCH_ALERT_URLS", "slack://T1JJ3T3L2/A1B%2FRTD@mail.example/TIiaj7FQ?x=y"
    )
    known = config.secrets(config.load(), MODELS)
    assert {"T1JJ3T3L2", "A1B%2FRTD", "A1B/RTD", "TIiaj7FQ"} < known
    assert "mail.example" not in known


def test_a_password_is_hidden_as_it_is_written_and_as_it_is_meant(monkeypatch):
    url = "postgresql://me:p%40ss%2Fword@host/db"
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", url)
    assert config.secrets(config.load(), MODELS) == {url}
    assert database.secrets(url) == {"p%40ss%2Fword", "p@ss/word"}
    assert database.secrets("postgresql://me:pa#ss@host/db?sslpassword=x") == {"pa#ss", "x"}
    assert database.secrets("postgresql://me:pa/ss@host/db") == set()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:9464", "0.0.0.0:9464"])
def test_an_address_to_serve_on(address):
    assert config.load(monitoring_address=address).monitoring_address == address


@pytest.mark.parametrize("setting", ["monitoring_address", "api_address"])
def test_what_is_no_address_is_refused_as_settings_are_read(setting):
    words = f"{setting}: write it as HOST:PORT, e.g. 127.0.0.1:9464 or [::1]:9464"
    assert words in str(told(**{setting: "localhost"}))


def test_monitoring_can_be_left_out_and_the_rest_service_has_an_address():
    assert config.load(monitoring_address="").monitoring_address == ""
    assert "HOST:PORT" in str(told(api_address=""))


def test_all_problems_are_named_at_once(write, monkeypatch):
    file = write("thread = 1\nthreads = -1\n[model]\nunits = 0\nlayrs = 2\n")
    monkeypatch.setenv("STOCKBATCH_XYZZY", "1")
    monkeypatch.setenv("STOCKBATCH_CHUNK_TICKERS", "0")
    found = [(error.values["source"], error.values["key"]) for error in config.problems()]
    assert set(found) == {
        ("environment", "STOCKBATCH_XYZZY"),
        ("environment", "STOCKBATCH_CHUNK_TICKERS"),
        *((file, key) for key in ("thread", "threads", "model.units", "model.layrs")),
    }
    assert len(found) == 6


def test_settings_without_problems(write):
    write("threads = 1\n")
    assert config.problems() == []


def test_the_settings_file_of_the_deployment_is_the_template():
    file = ROOT / "deployment" / "stockbatch.toml"
    assert file.read_text(encoding="utf-8") == settings_file.template(MODELS), (
        "stockbatch config template > deployment/stockbatch.toml"
    )


def test_the_template_changes_nothing(write):
    before = config.load()
    write(settings_file.template(MODELS))
    assert config.load().model_dump() == before.model_dump()


def test_the_template_has_every_setting_with_its_default(write, monkeypatch):
    monkeypatch.delenv("STOCKBATCH_HOME")
    lines = settings_file.template(MODELS).splitlines()
    values = [line[2:] for line in lines if re.match(r"# (\w+ = |\[)", line)]
    settings = config.load(write("\n".join(values)))
    of_providers = [MODELS[name]().model_validate(t) for name, t in settings.providers.items()]
    assert len(of_providers) == 2
    for table in (settings, settings.model, settings.exchanges["XTKS"], *of_providers):
        keys = type(table).model_fields.keys() - {"exchanges", "providers"}
        assert table.model_fields_set >= keys
        for key in keys:
            field = type(table).model_fields[key]
            if not field.examples:
                assert getattr(table, key) == field.get_default()
    assert all(line.startswith("#") or not line for line in lines)
    for line, above in zip(lines[1:], lines, strict=False):
        if re.match(r"# \w+ = ", line):
            assert above.endswith("."), f"{line} is not explained"


# ---- the providers' own tables

FLAT = {
    "yfinance_requests_per_second": "requests_per_second",
    "yfinance_patience_minutes": "patience_minutes",
    "alpha_vantage_key": "key",
    "alpha_vantage_key_file": "key_file",
    "alpha_vantage_premium": "premium",
    "alpha_vantage_requests_per_second": "requests_per_second",
    "alpha_vantage_requests_per_day": "requests_per_day",
}


def read(name, **options):
    """Return the table of a provider as its own model reads it."""
    return MODELS[name]().model_validate(config.load(None, MODELS, **options).providers[name])


def refused(**options):
    """Return what is wrong, which is one thing."""
    (error,) = config.problems(None, MODELS, **options)
    with pytest.raises(ConfigurationError) as caught:
        config.load(None, MODELS, **options)
    assert str(caught.value) == str(error)
    return error


def test_a_provider_is_set_by_option_environment_and_file(write, monkeypatch):
    write("[providers.yfinance]\nrequests_per_second = 2\npatience_minutes = 5\n")
    assert read("yfinance").requests_per_second == 2
    monkeypatch.setenv("STOCKBATCH_PROVIDERS__YFINANCE__REQUESTS_PER_SECOND", "3.5")
    monkeypatch.setenv("STOCKBATCH_PROVIDERS__ALPHA_VANTAGE__KEY", "0123")
    monkeypatch.setenv("STOCKBATCH_PROVIDERS__ALPHA_VANTAGE__KEY_FILE", "~/key")
    assert read("yfinance").requests_per_second == 3.5
    assert read("alpha_vantage").key == SecretStr("0123"), "not the number 83"
    assert read("alpha_vantage").key_file == Path.home() / "key"
    table = read("yfinance", providers={"yfinance": {"requests_per_second": "4"}})
    assert (table.requests_per_second, table.patience_minutes) == (4, 5)


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[providers.yfinanze]\n", "yfinanze", "unknown; did you mean yfinance?"),
        ("[providers.yfinance]\nworkers = 3\n", "yfinance.workers", "unknown"),
        ("[providers.demo]\nx = 1\n", "demo.x", "unknown"),
        (
            "[providers.alpha_vantage]\nkeyfile = 'x'\n",
            "alpha_vantage.keyfile",
            "unknown; did you mean key_file?",
        ),
        (
            "[providers.yfinance]\npatience_minutes = -1\n",
            "yfinance.patience_minutes",
            "Input should be greater than or equal to 0",
        ),
        ("[providers.nobody]\n", "nobody", "unknown; there are " + ", ".join(MODELS)),
        ("[providers]\nyfinance = 3\n", "yfinance", "Input should be a valid dictionary"),
    ],
)
def test_a_bad_table_of_a_provider_is_told(write, monkeypatch, text, key, reason):
    file = write(text)
    assert str(refused()) == f"{file}: providers.{key}: {reason}"


def test_what_is_wrong_about_a_provider_is_told_by_where_it_is_set(write, monkeypatch):
    write("[providers.yfinance]\npatience_minutes = 1\n")
    monkeypatch.setenv("STOCKBATCH_PROVIDERS__YFINANCE__PATIENCE", "1")
    monkeypatch.setenv("STOCKBATCH_PROVIDERS__YAHOO__PATIENCE_MINUTES", "1")
    options = {"providers": {"yfinance": {"requests_per_second": "fast"}}}
    assert sorted(map(str, config.problems(None, MODELS, **options))) == [
        "environment: STOCKBATCH_PROVIDERS__YAHOO: unknown; there are "
        "csv, parquet, demo, yfinance, alpha_vantage",
        "environment: STOCKBATCH_PROVIDERS__YFINANCE__PATIENCE: unknown; did you mean"
        " patience_minutes?",
        "options: providers.yfinance.requests_per_second: Input should be a valid number, unable"
        " to parse string as a number",
    ]


@pytest.mark.parametrize(("flat", "own"), FLAT.items())
def test_what_was_flat_until_0_1_is_refused_with_its_new_name(write, monkeypatch, flat, own):
    name = flat.removesuffix(f"_{own}")
    now = f"unknown; it is providers.{name}.{own} now"
    assert str(refused(**{flat: "1"})) == f"options: {flat}: {now}"
    file = write(f"{flat} = 1\n")
    assert str(refused()) == f"{file}: {flat}: {now}"
    write("")
    variable = f"STOCKBATCH_{flat}".upper()
    monkeypatch.setenv(variable, "1")
    new = f"STOCKBATCH_PROVIDERS__{name}__{own}".upper()
    assert str(refused()) == f"environment: {variable}: unknown; it is {new} now"


@pytest.mark.parametrize("gone", ["alpha_vantage_format", "yfinance_workers"])
def test_what_is_gone_is_told(write, monkeypatch, gone):
    file = write(f"{gone} = 3\n")
    assert str(refused()) == f"{file}: {gone}: no longer a setting: take it away"
    write("")
    monkeypatch.setenv(f"STOCKBATCH_{gone}".upper(), "3")
    assert "no longer a setting" in str(refused())


def test_problems_of_providers_are_told_beside_all_others(write):
    write("threads = -1\n[providers.yfinance]\nworkers = 1\n[providers.x]\n[model]\nunits = 0\n")
    keys = [error.values["key"] for error in config.problems(None, MODELS)]
    assert sorted(keys) == ["model.units", "providers.x", "providers.yfinance.workers", "threads"]


def test_without_their_models_the_tables_stay_as_they_are(write):
    write("[providers.yfinance]\nrequests_per_second = 2\n[providers.other]\nx = 1\n")
    assert config.load().providers == {"yfinance": {"requests_per_second": 2}, "other": {"x": 1}}


def test_a_secret_of_a_provider_is_shown_to_nobody(write):
    write("[providers.alpha_vantage]\nkey = 'hunter2'\n")
    settings = config.load(None, MODELS)
    assert config.secrets(settings, MODELS) == {"hunter2"}
    shown = settings_file.describe(settings, MODELS)
    assert '[providers.alpha_vantage]\nkey = "***"' in shown
    shown += (
        str(settings) + repr(settings) + settings.model_dump_json() + str(settings.model_dump())
    )
    assert "hunter2" not in shown
    write("[providers.alpha_vantage]\nkey = ['hunter2']\nkye = 'hunter2'\n")
    told_ = " ".join(map(str, config.problems(None, MODELS)))
    assert "providers.alpha_vantage.key:" in told_
    assert "hunter2" not in told_


def test_every_provider_is_described_with_its_defaults(write):
    shown = tomllib.loads(settings_file.describe(config.load(None, MODELS), MODELS))["providers"]
    assert shown == {
        "yfinance": {"requests_per_second": 1.0, "patience_minutes": 60.0},
        "alpha_vantage": {"premium": False, "requests_per_second": 0.8, "requests_per_day": 25},
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"threads = {'[' * 100_000}", "syntax: tables or lists within others"),
        (f"threads = {'9' * 5000}", "syntax: "),
        ("threads = 99999999999", "threads: "),
        ("close_delay_minutes = 1000000000000000000", "close_delay_minutes: "),
        ("[model]\nanchor = inf", "model.anchor: "),
        ("[model]\nclip_norm = nan", "model.clip_norm: "),
        ("[threads]\nx = 1", "threads: "),
        ("[exchanges.XNYS.close_delay_minutes]\nx = 1", "exchanges.XNYS.close_delay_minutes: "),
        ("providers = 3", "providers: "),
    ],
)
def test_absurd_numbers_and_nests_are_told(write, content, reason):
    write(f"{content}\n")
    assert reason in str(config.problems(None, MODELS)[0])


def test_a_home_that_cannot_be_is_told(monkeypatch):
    for home, reason in (("~nobodyatall/x", "which folder ~ is"), ("/tmp/\udcff", "not UTF-8")):
        monkeypatch.setenv("STOCKBATCH_HOME", home)
        assert reason in str(config.problems(None, MODELS)[0])
    monkeypatch.delenv("STOCKBATCH_HOME")
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert "set STOCKBATCH_HOME" in str(config.problems(None, MODELS)[0])
