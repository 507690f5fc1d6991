"""Backup and restore, by pg_dump and pg_restore: one file, all of the schemas or nothing."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine, text

from jobs import files
from jobs.care import contents as check
from stockbatch import config, database
from stockbatch.config import Settings
from stockbatch.database.migration import SCHEMAS
from stockbatch.exceptions import BackupFailed, RestoreFailed
from stockbatch.text import printable

_DUMPED_FROM = re.compile(r"^;\s+Dumped from database version: (\d+)", re.MULTILINE)
_DEFAULT_PRIVILEGES = re.compile(
    r"^(ALTER DEFAULT PRIVILEGES )FOR ROLE .+? (IN SCHEMA .+);$", re.MULTILINE
)


class _ProgramError(Exception):
    """What a program of PostgreSQL said last."""


def backup(settings: Settings, file: Path, snapshot: str | None = None) -> int:
    """Write the database, as it is at this instant, to a new file; return its size in bytes.

    The instant is that of an exported snapshot, where one is named. Raises BackupFailed, and what
    `database.engine` raises.
    """
    if file.is_dir():
        raise BackupFailed(path=file, reason="it is a folder: --keep N writes a backup into it")
    owner = database.engine(settings, "owner", create=False)
    try:
        if database.revision(owner) is None:
            raise BackupFailed(path=file, reason="the database holds nothing of this program")
        program = _program(settings, "pg_dump", _server_version(owner))
        address, variables = database.for_programs(settings, "owner", create=False)
        schemas = [f"--schema={schema}" for schema in SCHEMAS]
        schemas += [f"--snapshot={snapshot}"] if snapshot else []
        # Under another name until it is whole: what bears the name of a backup is one.
        with files.appearing(file, replacing=False, mode=0o600) as partial:
            _call([program, "--format=custom", *schemas, f"--file={partial}", address], variables)
            return partial.stat().st_size
    except (_ProgramError, OSError) as error:
        raise BackupFailed(path=file, reason=_words(error)) from None
    finally:
        owner.dispose()


def restore(settings: Settings, file: Path) -> None:
    """Fill an empty database from a backup, then migrate it.

    Roles are made where they are missing; the login owns what is restored, and must be one that
    cannot leave the database. Raises RestoreFailed, which leaves nothing behind, SchemaTooNew, and
    what `database.engine` raises.
    """
    try:
        program, contents = _contents(settings, file)  # before there is a cluster to be filled
    except (_ProgramError, OSError) as error:
        where = str(settings.home)
        if settings.database_url is not None:
            where = database.redacted(database.url(settings))
        raise RestoreFailed(path=file, url=where, reason=_words(error)) from None
    owner = database.engine(settings, "owner")
    try:
        _restore(settings, file, owner, program, contents)
    except (_ProgramError, OSError) as error:
        where = database.redacted(owner.url)
        raise RestoreFailed(path=file, url=where, reason=_words(error)) from None
    finally:
        owner.dispose()
    database.migrate(settings)


def _restore(settings: Settings, file: Path, owner: Engine, program: str, contents: str) -> None:
    server = _server_version(owner)
    _require_harmless(owner)
    _require_empty(owner)
    found = _DUMPED_FROM.search(contents)
    if found and int(found[1]) > server:
        raise _ProgramError(f"it comes from PostgreSQL {found[1]}, and the server is {server}")
    with owner.begin() as connection:
        database.create_roles(connection)
    address, variables = database.for_programs(settings, "owner")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".list") as chosen:
        # Default privileges belong to a login, which may have another name here.
        lines = contents.splitlines(keepends=True)
        chosen.writelines(line for line in lines if " DEFAULT ACL " not in line)
        chosen.flush()
        options = ["--no-owner", "--single-transaction", "--exit-on-error"]
        options += [f"--use-list={chosen.name}", f"--dbname={address}"]
        _call([program, *options, str(file)], variables)
    statements = _call([program, "--schema-only", "--file=-", str(file)], {})
    with owner.begin() as connection:
        for verb, rest in _DEFAULT_PRIVILEGES.findall(statements):
            connection.execute(text(verb + rest))
    _refuse_planted(owner)


def _require_harmless(owner: Engine) -> None:
    with owner.connect() as connection:
        login = check.too_mighty(connection)
    if login:
        raise _ProgramError(
            f"the login {login} may run programs on the server, and so would what the file"
            " contains: restore as one that is no superuser (deployment/logins.sql makes it)"
        )


def _refuse_planted(owner: Engine) -> None:
    """Drop what was restored if anything in it would act that no migration has made."""
    with owner.begin() as connection:
        found = check.strange_object(connection)
        if found:
            connection.execute(text(f"DROP SCHEMA {', '.join(SCHEMAS)} CASCADE"))
    if found:
        raise _ProgramError(f"it contains {found}, which is not this program's")


def _require_empty(owner: Engine) -> None:
    query = text("SELECT nspname FROM pg_namespace WHERE nspname = ANY(:names) ORDER BY 1")
    with owner.connect() as connection:
        found = connection.scalars(query, {"names": list(SCHEMAS)}).all()
    if found:
        raise _ProgramError(
            f"the database has the schema {found[-1]} already: restore to a new one, named by"
            " another STOCKBATCH_HOME or STOCKBATCH_DATABASE_URL"
        )


def _server_version(owner: Engine) -> int:
    with owner.connect() as connection:
        return int(connection.scalar(text("SHOW server_version_num")) or 0) // 10_000


def _program(settings: Settings, name: str, server: int) -> str:
    """Return a program that is not older than the server."""
    versions = {}
    for program in database.programs(settings, name):
        version = re.search(r"\d+", _call([program, "--version"], {}))
        versions[program] = int(version[0]) if version else 0
        if versions[program] >= server:
            return program
    newest = max(versions.values())
    raise _ProgramError(f"{name} is {newest}, and the server is {server}: install its programs")


def _contents(settings: Settings, file: Path) -> tuple[str, str]:
    """Return the first pg_restore that can read the file, and the table of contents it reads."""
    with file.open("rb"):
        pass  # where it cannot be read, the system says why better than pg_restore
    *others, last = database.programs(settings, "pg_restore")
    program, contents = last, ""
    for other in others:
        with suppress(_ProgramError):
            program, contents = other, _call([other, "--list", str(file)], {})
            break
    contents = contents or _call([program, "--list", str(file)], {})
    if "SCHEMA - stockbatch " not in contents or not _DUMPED_FROM.search(contents):
        raise _ProgramError("it is a backup of something else")
    if entry := check.strange_entry(contents):
        raise _ProgramError(f"it contains {printable(entry)}, which is not this program's")
    return program, contents


def _call(command: Sequence[str], variables: Mapping[str, str]) -> str:
    """Run a program of PostgreSQL and return what it prints. Raises _ProgramError."""
    environment = config.environment({"LC_ALL": "C", **variables})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error: " in line]
        status = f"{Path(command[0]).name} ended with status {done.returncode}"
        words = said[0].partition("error: ")[2] if said else status
        raise _ProgramError(words)
    return done.stdout


def _words(error: _ProgramError | OSError) -> str:
    if isinstance(error, FileExistsError):
        return "there is such a file already"
    return str((isinstance(error, OSError) and error.strerror) or error)
