"""What a backup may contain: what the migrations make, and nothing else that could act by itself.

A file can lie about its contents: what is asked of its list before is asked of the database again.
Functions and triggers are compared with the migrations, by name and word for word; expressions, as
in views, are not. That nothing of it leaves the database is due to the login that restores it.
"""

import re
from functools import cache

from sqlalchemy import Connection, text

from stockbatch.database.migration import SCHEMAS, migrations_folder

_KINDS = (
    "SCHEMA|TABLE DATA|TABLE|VIEW|SEQUENCE OWNED BY|SEQUENCE SET|SEQUENCE|DEFAULT ACL|DEFAULT"
    "|FK CONSTRAINT|CHECK CONSTRAINT|CONSTRAINT|INDEX|STATISTICS DATA|FUNCTION|TRIGGER|COMMENT|ACL"
)
_OURS = re.compile(
    rf"(?:{_KINDS}) (?:(?:{'|'.join(SCHEMAS)}) .+|- (?:SCHEMA )?(?:{'|'.join(SCHEMAS)}) .*)"
)
_ENTRY = re.compile(r"\d+; \d+ \d+ (.+)")

_MAY_RUN_PROGRAMS = text(
    "SELECT session_user FROM pg_catalog.pg_roles"
    " WHERE rolname IN ('pg_execute_server_program', 'pg_write_server_files')"
    " AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')"
)
_ACTING = text("""\
SELECT 'the function ' || p.oid::regprocedure AS what,
    format('FUNCTION %s.%s(', n.nspname, p.proname) AS name,
    CASE WHEN p.prosqlbody IS NULL THEN format('$$%s$$', p.prosrc) ELSE '' END AS body
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = ANY(:schemas)
UNION ALL
SELECT format('the trigger %s of %s', t.tgname, t.tgrelid::regclass), 'TRIGGER ' || t.tgname || ' ',
    CASE WHEN f.nspname = 'stockbatch' THEN 'EXECUTE FUNCTION stockbatch.' || p.proname || '(' END
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS f ON f.oid = p.pronamespace
JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) AND NOT t.tgisinternal
UNION ALL
SELECT format('the rule %s of %s', r.rulename, r.ev_class::regclass), NULL, NULL
FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) AND NOT (r.rulename = '_RETURN' AND c.relkind IN ('v', 'm'))
UNION ALL
SELECT format('the policy %s of %s', p.polname, p.polrelid::regclass), NULL, NULL
FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas)
ORDER BY 1""")


def strange_entry(contents: str) -> str | None:
    """Return the first entry in the list of a backup that is not this program's."""
    for line in contents.splitlines():
        entry = _ENTRY.fullmatch(line)
        if not line.startswith(";") and not (entry and _OURS.fullmatch(entry[1])):
            return entry[1] if entry else line
    return None


def strange_object(connection: Connection) -> str | None:
    """Return what in the restored schemas would act by itself and comes from no migration."""
    connection.execute(text("SET LOCAL search_path = pg_catalog"))  # nothing of the file's
    for what, name, body in connection.execute(_ACTING, {"schemas": list(SCHEMAS)}):
        if name is None or body is None or not (name in _migrations() and body in _migrations()):
            return str(what)
    return None


def too_mighty(connection: Connection) -> str | None:
    """Return the login if it may run programs on the server, as a superuser may."""
    login = connection.scalar(_MAY_RUN_PROGRAMS)
    return None if login is None else str(login)


@cache
def _migrations() -> str:
    """Return every word of the migrations."""
    files = sorted(migrations_folder().glob("v*/*"))
    return "\n".join(f.read_text("utf-8") for f in files if f.suffix in (".py", ".sql"))
