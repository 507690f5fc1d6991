import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from stockbatch import config
from stockbatch.config import ModelSettings, Settings
from stockbatch.config import text as settings_file
from stockbatch.exceptions import ConfigurationError
from tests.support.places import ROOT

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


def test_every_engine_setting_and_no_other_is_in_the_engine_hash():
    plain = Settings().engine_hash()
    assert plain == Settings(threads=4, exchange="XLON", retrain_after_sessions=1).engine_hash()
    for name, field in ModelSettings.model_fields.items():
        other = field.default / 2 if isinstance(field.default, float) else field.default + 1
        assert Settings(model=ModelSettings(**{name: other})).engine_hash() != plain, name


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
    assert 'alert_urls = ["json://***", "mailto://***"]' in settings_file.describe(config.load())
    monkeypatch.setenv("STOCKBATCH_ALERT_URLS", "json://two\nslack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl")
    assert len(config.load().alert_urls) == 2
    shown = settings_file.describe(config.load()) + repr(config.load())
    assert "TIiajkdnl" not in shown


def test_every_secret_is_known_to_who_hides_it(monkeypatch):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", SECRET)
    monkeypatch.setenv("STOCKBATCH_ALERT_URLS", "json://two")
    assert config.secrets(config.load()) == {SECRET, "hunter2", "json://two"}


def test_a_password_is_hidden_as_it_is_written_and_as_it_is_meant(monkeypatch):
    url = "postgresql://me:p%40ss%2Fword@host/db"
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", url)
    assert config.secrets(config.load()) == {url, "p%40ss%2Fword", "p@ss/word"}


@pytest.mark.parametrize("address", ["", "127.0.0.1:0", "[::1]:9464", "0.0.0.0:9464"])
def test_an_address_to_serve_on(address):
    assert config.load(monitoring_address=address).monitoring_address == address


@pytest.mark.parametrize("address", ["9464", ":9464", "localhost", "host:port", "host:99999"])
def test_no_address_to_serve_on(address):
    assert "HOST:PORT" in str(told(monitoring_address=address))


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
    assert file.read_text(encoding="utf-8") == settings_file.template(), (
        "stockbatch config template > deployment/stockbatch.toml"
    )


def test_the_template_changes_nothing(write):
    before = config.load()
    write(settings_file.template())
    assert config.load().model_dump() == before.model_dump()


def test_the_template_has_every_setting_with_its_default(write, monkeypatch):
    monkeypatch.delenv("STOCKBATCH_HOME")
    lines = settings_file.template().splitlines()
    values = [line[2:] for line in lines if re.match(r"# (\w+ = |\[)", line)]
    settings = config.load(write("\n".join(values)))
    for table in (settings, settings.model, settings.exchanges["XTKS"]):
        assert table.model_fields_set >= type(table).model_fields.keys() - {"exchanges"}
        for key, field in type(table).model_fields.items():
            if not field.examples and key != "exchanges":
                assert getattr(table, key) == field.get_default()
    assert all(line.startswith("#") or not line for line in lines)
    for line, above in zip(lines[1:], lines, strict=False):
        if re.match(r"# \w+ = ", line):
            assert above.endswith("."), f"{line} is not explained"
