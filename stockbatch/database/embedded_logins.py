"""The SQL that makes the logins of the embedded server, and says what is whose.

`owner`, by whom the cluster is made, is the superuser, for good: PostgreSQL lets nobody demote it.
It makes the other logins and sets their passwords, from the maintenance database, where nobody else
may connect. In our database it was once, before any backup was restored there: to give it to
`keeper`, who is no superuser and does all that an owner does.
"""

from typing import Literal

Role = Literal["owner", "writer", "reader", "api"]

SUPERUSER = "owner"
KEEPER = "keeper"
LOGINS = (SUPERUSER, KEEPER, "writer", "reader", "api")
FIRST_LOGINS = (SUPERUSER, "writer", "reader")
"""Of every cluster; older ones have no other."""
TEAMS = "stockbatch_"
"""What the logins of teams begin with; their schema is called like the rest."""
RESERVED_CONNECTIONS = 20
"""That nobody gets but the jobs, of 100."""

CREATE = """\
CREATE ROLE stockbatch_writer;
CREATE ROLE stockbatch_reader;
CREATE ROLE stockbatch_api;
CREATE ROLE writer IN ROLE stockbatch_writer;
CREATE ROLE reader IN ROLE stockbatch_reader;
CREATE ROLE api IN ROLE stockbatch_api;
CREATE DATABASE {database};
"""

# REASSIGN OWNED takes nothing from the superuser that made the cluster, so it goes one by one. What
# belongs to an extension stays; sequences of columns, types of rows and the like go with theirs.
HAND_OVER = """\
DO $$ DECLARE one record; BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'keeper') THEN
        CREATE ROLE keeper;
    END IF;
    FOR one IN
        SELECT format('ALTER %s %s OWNER TO keeper', named.type, named.identity) AS statement
        FROM (
            SELECT 'pg_namespace'::regclass AS catalog, oid FROM pg_namespace
            WHERE nspowner = 10 AND nspname !~ '^pg_'
            UNION ALL
            SELECT 'pg_class'::regclass, oid FROM pg_class
            WHERE relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                AND relpersistence <> 't' AND relnamespace <> 'pg_toast'::regnamespace
                AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend
                    WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                        AND deptype = 'a'))
            UNION ALL
            SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = 10
            UNION ALL
            SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typowner = 10
        ) AS mine, pg_identify_object(mine.catalog, mine.oid, 0) AS named
        WHERE mine.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend
            WHERE classid = mine.catalog AND objid = mine.oid AND objsubid = 0
                AND deptype IN ('e', 'i'))
    LOOP
        EXECUTE one.statement;
    END LOOP;
    FOR one IN
        SELECT nspname, grantee::regrole, string_agg(privilege_type, ', ') AS privileges
        FROM pg_default_acl JOIN pg_namespace AS n ON n.oid = defaclnamespace,
            aclexplode(defaclacl)
        WHERE defaclrole = 10 AND defaclobjtype = 'r' AND grantee NOT IN (0, 10)
        GROUP BY 1, 2
    LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA %I GRANT %s ON TABLES'
            ' TO %s', one.nspname, one.privileges, one.grantee);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE %s ON TABLES FROM %s',
            one.nspname, one.privileges, one.grantee);
    END LOOP;
    FOR one IN SELECT oid::regprocedure AS function FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND proname ~ '^lo(_|read|write)' AND has_function_privilege('public', oid, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one.function);
    END LOOP;
END $$;
ALTER DATABASE {database} OWNER TO keeper;
"""

# A standby takes what its primary has.
SETTLE = """\
SELECT pg_is_in_recovery() AS is_standby \\gset
\\if :is_standby
\\quit
\\endif
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'api') THEN
        CREATE ROLE api IN ROLE stockbatch_api;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections') THEN
        GRANT pg_use_reserved_connections TO writer, keeper;
    END IF;
END $$;
ALTER ROLE keeper RESET ALL;
ALTER ROLE writer RESET ALL;
ALTER ROLE reader RESET ALL;
ALTER ROLE api RESET ALL;
ALTER ROLE keeper IN DATABASE {database} RESET ALL;
ALTER ROLE writer IN DATABASE {database} RESET ALL;
ALTER ROLE reader IN DATABASE {database} RESET ALL;
ALTER ROLE api IN DATABASE {database} RESET ALL;
ALTER ROLE keeper LOGIN PASSWORD '{keeper}' NOSUPERUSER NOCREATEROLE NOCREATEDB;
ALTER ROLE writer LOGIN PASSWORD '{writer}';
ALTER ROLE reader LOGIN PASSWORD '{reader}' CONNECTION LIMIT 40;
ALTER ROLE api LOGIN PASSWORD '{api}' CONNECTION LIMIT 30;
ALTER ROLE reader SET statement_timeout = '60s';
ALTER ROLE reader SET search_path = bi;
ALTER ROLE api SET statement_timeout = '30s';
REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
GRANT TEMPORARY ON DATABASE {database} TO stockbatch_writer;
"""

TEAM = """\
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') THEN
        CREATE ROLE {login};
    END IF;
END $$;
ALTER ROLE {login} RESET ALL;
ALTER ROLE {login} IN DATABASE {database} RESET ALL;
ALTER ROLE {login} LOGIN PASSWORD '{password}' CONNECTION LIMIT 5;
ALTER ROLE {login} SET statement_timeout = '60s';
ALTER ROLE {login} SET search_path = {schema};
ALTER ROLE {login} SET default_transaction_read_only = on;
"""
"""The login of a team's readers, who see the views of one schema."""
