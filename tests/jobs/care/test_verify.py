"""Backups by schedule: what is kept was restored as a test, and what fails is told."""

import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from jobs import cli, files
from jobs.care import backup as backups
from jobs.care import verify as job
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.exceptions import BackupFailed, VerificationFailed
from tests.support import loopback
from tests.support.market import fetch, run

NIGHT = datetime(2024, 6, 4, 2, 30, tzinfo=UTC)
NEWEST = "stockbatch-20240604T023000Z.backup"
OLDER = [f"stockbatch-2024060{day}T023000Z.backup" for day in (1, 2, 3)]
STRANGERS = {"notes", "stockbatch-2024-06-01.backup", f"{OLDER[0]}.partial"}
OTHERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@pytest.fixture
def folder(tmp_path):
    """A folder with older backups and other people's files."""
    made = tmp_path / "backups"
    made.mkdir()
    for name in (*OLDER, *STRANGERS):
        (made / name).write_text("precious")
    return made


@pytest.fixture
def scratch(tmp_path):
    made = tmp_path / "scratch"
    made.mkdir()
    return made


@pytest.fixture
def webhook():
    with loopback.webhook() as hook:
        yield hook


def names(folder):
    return {path.name for path in folder.iterdir()}


def left_in(scratch):
    """Return the files and the processes of a server that was not thrown away."""
    servers = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    return list(scratch.iterdir()), [c for c in servers if c and str(scratch) in " ".join(c)]


def test_a_backup_that_came_back_takes_the_place_of_older_ones(app, folder, scratch):
    run(app)
    file, rows = job.keep(app.settings, folder, 2, NIGHT, scratch)
    assert names(folder) == {file.name, OLDER[2]} | STRANGERS
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == (NEWEST, 0o600)
    owner = database.engine(app.settings, "owner")
    counted = {t: fetch(owner, f"SELECT count(*) AS n FROM stockbatch.{t}") for t in job.TABLES}
    owner.dispose()
    assert rows == {table: row["n"] for table, (row,) in counted.items()}
    assert rows["instruments"] == 3
    assert rows["bars"] > rows["forecasts"] > 0
    assert left_in(scratch) == ([], [])


def test_a_backup_that_did_not_come_back_is_told_and_nothing_is_removed(
    settings, folder, scratch, webhook, monkeypatch
):
    """Cut short on its way to the disk, as where that is full."""
    told = settings.model_copy(update={"alert_urls": (SecretStr(webhook.url),)})

    def cut_short(settings, file, snapshot=None):
        size = backups.backup(settings, file, snapshot)
        file.write_bytes(file.read_bytes()[: size * 3 // 4])

    monkeypatch.setattr(job, "backup", cut_short)
    with pytest.raises(VerificationFailed, match="did not come back"), job.telling(told, "it"):
        job.keep(told, folder, 1, NIGHT, scratch)
    assert names(folder) == {NEWEST, *OLDER} | STRANGERS
    assert left_in(scratch) == ([], [])
    (message,) = webhook.received
    assert message["title"] == "stockbatch: it failed"
    assert f"{NEWEST} did not come back when it was restored as a test" in message["message"]


def test_rows_that_are_missing_are_told(engine, settings, tmp_path, scratch):
    """A trigger planted in the database, say, may drop them as they are restored."""
    backups.backup(settings, tmp_path / "one")
    assert job.verify(settings, tmp_path / "one", scratch)["bars"] == 0
    with pytest.raises(VerificationFailed, match="0 rows of bars came back of 7"):
        job.verify(settings, tmp_path / "one", scratch, {"instruments": 0, "bars": 7})


def test_what_a_killed_restore_test_has_left_is_removed(engine, settings, tmp_path, scratch):
    backups.backup(settings, tmp_path / "one")
    for name in ("stockbatch-verify-", "stockbatch-verify-of-mine", "stockbatch-verify-a"):
        (scratch / name).mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (scratch / "stockbatch-verify-linked00").symlink_to(elsewhere)
    strangers = names(scratch)
    ours = [sys.executable, "-m", "jobs", "db", "verify", tmp_path / "one", "--scratch", scratch]
    process = subprocess.Popen(ours, env=os.environ | {"HOME": str(tmp_path)})
    while not list(scratch.glob("*/postgres/data/postmaster.pid")):
        assert process.poll() is None
        time.sleep(0.02)
    (home,) = names(scratch) - strangers
    # While it is alive nothing of it goes.
    files.remove_left(scratch, job._SCRATCH + r"\w{8}", job._throw_away)
    assert names(scratch) == {home} | strangers
    process.kill()
    process.wait(30)
    job.verify(settings, tmp_path / "one", scratch)
    assert names(scratch) == strangers
    assert elsewhere.exists()
    assert left_in(scratch)[1] == []


@pytest.mark.parametrize("programs", OTHERS or [None], ids=lambda p: p and p.parts[-3])
def test_a_backup_of_another_major_version_comes_back(programs, server_home, tmp_path, scratch):
    if programs is None:
        pytest.skip("no other PostgreSQL is installed: apt-get install postgresql")
    server = embedded_server.start(server_home, programs=programs.parent)
    url = database.for_clients(server.url("owner").set(query={"sslmode": "disable"}))
    settings = Settings(home=tmp_path / "home", database_url=url)
    database.migrate(settings)
    owner = database.engine(settings, "owner")
    (row,) = fetch(owner, "SHOW server_version_num")
    owner.dispose()
    assert row["server_version_num"][:2] == programs.parts[-3]
    backups.backup(settings, tmp_path / "one")
    assert set(job.verify(settings, tmp_path / "one", scratch)) == set(job.TABLES)


def command(monkeypatch, settings, *arguments):
    """Return the exit status of a command line that is run here."""
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setattr(sys, "argv", ["stockbatch", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_the_schedules_command_says_what_came_back(settings, folder, scratch, monkeypatch, capsys):
    call = ("db", "backup", folder, "--keep", "3", "--scratch", scratch)
    assert command(monkeypatch, settings, *call) == 0
    assert "MiB, restored: 0 instruments, 0 bars, 0 runs" in capsys.readouterr().out
    assert len(names(folder) - STRANGERS) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "absent"), "absent did not come back when it was restored as a test: No such"),
        (("backup", "absent", "--keep", "3"), "No such file or directory"),
        (("verify", "notes", "--scratch", "absent"), "absent: No such file or directory"),
    ],
)
def test_what_fails_in_a_schedule_is_told_and_ends_with_a_status(
    arguments, said, settings, folder, webhook, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STOCKBATCH_ALERT_URLS", webhook.url)
    assert command(monkeypatch, settings, "db", *arguments) == BackupFailed.exit_code
    assert said in capsys.readouterr().err
    (message,) = webhook.received
    assert said in message["message"]
    assert names(folder) == {*OLDER} | STRANGERS


def test_a_folder_is_asked_for_only_with_a_number(settings, folder, monkeypatch, capsys):
    assert command(monkeypatch, settings, "db", "backup", folder) == BackupFailed.exit_code
    assert "it is a folder: --keep N writes a backup into it" in capsys.readouterr().err
