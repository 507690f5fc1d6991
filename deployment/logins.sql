-- The database and the logins of the processes, made by an administrator before the first
-- 'stockbatch migrate'. Each password is in a file of the folder `secrets`; run again with other
-- files, it changes the passwords. Each login can change its own password and settings: run again
-- with the same files, it sets them anew. Run it, too, when max_connections has changed.
--
--   psql -v secrets=/path/to/folder -f logins.sql postgresql://postgres@host/postgres
--
--   stockbatch_owner       migrates; in no group
--   stockbatch_daemon      runs the daemon and every other command: stockbatch_writer
--   stockbatch_rest        the REST service: stockbatch_api
--   stockbatch_dashboard   the built-in dashboard: stockbatch_reader
--   stockbatch_grafana     Grafana, and the like: stockbatch_reader
--   stockbatch_team_NAME   for each file team_NAME_password: in no group, reads what 'stockbatch
--                          teams add NAME' lets it
\set ON_ERROR_STOP on
\if :{?secrets}
\else
    \set secrets /run/secrets
\endif
\set owner `cat :'secrets'/owner_password`
\set daemon `cat :'secrets'/daemon_password`
\set rest `cat :'secrets'/rest_password`
\set dashboard `cat :'secrets'/dashboard_password`
\set grafana `cat :'secrets'/grafana_password`
\set teams `cd :'secrets' && for f in team_*_password; do [ -e "$f" ] && printf '%s %s\n' "${f%_password}" "$(cat "$f")"; done; true`

-- Without a password a login would be open to whoever pg_hba.conf trusts.
SELECT '' IN (:'owner', :'daemon', :'rest', :'dashboard', :'grafana')
    OR :'teams' ~ '(?n) $' AS lacking \gset
\if :lacking
    DO $$ BEGIN RAISE 'a password file is missing or empty'; END $$;
\endif

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY[
    'stockbatch_writer', 'stockbatch_reader', 'stockbatch_api', 'stockbatch_owner',
    'stockbatch_daemon', 'stockbatch_rest', 'stockbatch_dashboard', 'stockbatch_grafana'
]) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The groups get their rights from the migrations.
GRANT stockbatch_writer TO stockbatch_daemon;
GRANT stockbatch_api TO stockbatch_rest;
GRANT stockbatch_reader TO stockbatch_dashboard, stockbatch_grafana;

-- Whoever only reads gets seven eighths of what the jobs leave, so that readers cannot take the last
-- connections from them. Another application on the same server has to be limited likewise.
SELECT least(25, usable / 2) AS jobs, usable - least(25, usable / 2) AS others
FROM (
    SELECT sum(setting::int * CASE name WHEN 'max_connections' THEN 1 ELSE -1 END)::int AS usable
    FROM pg_settings
    WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
) AS server \gset
SELECT greatest(1, :jobs / 5) AS owner_limit, greatest(1, :jobs - :jobs / 5) AS daemon_limit,
    greatest(1, :others / 2) AS rest_limit, greatest(1, :others / 4) AS dashboard_limit,
    greatest(1, :others / 8) AS grafana_limit \gset

ALTER ROLE stockbatch_owner LOGIN PASSWORD :'owner' CONNECTION LIMIT :owner_limit;
ALTER ROLE stockbatch_daemon LOGIN PASSWORD :'daemon' CONNECTION LIMIT :daemon_limit;
ALTER ROLE stockbatch_rest LOGIN PASSWORD :'rest' CONNECTION LIMIT :rest_limit;
ALTER ROLE stockbatch_dashboard LOGIN PASSWORD :'dashboard' CONNECTION LIMIT :dashboard_limit;
ALTER ROLE stockbatch_grafana LOGIN PASSWORD :'grafana' CONNECTION LIMIT :grafana_limit;

SELECT format('ALTER ROLE %I RESET ALL', name)
FROM unnest(ARRAY[
    'stockbatch_owner', 'stockbatch_daemon', 'stockbatch_rest', 'stockbatch_dashboard',
    'stockbatch_grafana'
]) AS name \gexec
ALTER ROLE stockbatch_daemon SET statement_timeout = '10min';
ALTER ROLE stockbatch_rest SET statement_timeout = '30s';
ALTER ROLE stockbatch_dashboard SET statement_timeout = '60s';
ALTER ROLE stockbatch_grafana SET statement_timeout = '30s';
-- The views need no schema before them. No other one is looked in: where everybody may make things,
-- as in public of old servers, a reader finds none of them by accident.
ALTER ROLE stockbatch_dashboard SET search_path = bi;
ALTER ROLE stockbatch_grafana SET search_path = bi;
ALTER ROLE stockbatch_rest SET default_transaction_read_only = on;
ALTER ROLE stockbatch_dashboard SET default_transaction_read_only = on;
ALTER ROLE stockbatch_grafana SET default_transaction_read_only = on;

SELECT 'CREATE DATABASE stockbatch OWNER stockbatch_owner ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'stockbatch') \gexec

REVOKE ALL ON DATABASE stockbatch FROM PUBLIC;
GRANT CONNECT ON DATABASE stockbatch TO stockbatch_writer, stockbatch_api, stockbatch_reader;
GRANT TEMPORARY ON DATABASE stockbatch TO stockbatch_writer; -- rows in bulk come by way of a table

SELECT format('ALTER ROLE %s IN DATABASE stockbatch RESET ALL', name)
FROM unnest(ARRAY[
    'stockbatch_owner', 'stockbatch_daemon', 'stockbatch_rest', 'stockbatch_dashboard',
    'stockbatch_grafana'
]) AS name \gexec

-- A team takes of the connections that are left for people.
SELECT
    CASE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login)
        THEN format('CREATE ROLE %I', login) END,
    format('ALTER ROLE %I RESET ALL', login),
    format('ALTER ROLE %I IN DATABASE stockbatch RESET ALL', login),
    format('ALTER ROLE %I LOGIN PASSWORD %L CONNECTION LIMIT 5', login, password),
    format('ALTER ROLE %I SET statement_timeout = ''60s''', login),
    format('ALTER ROLE %I SET search_path = %I', login, schema),
    format('ALTER ROLE %I SET default_transaction_read_only = on', login)
FROM regexp_split_to_table(:'teams', E'\n') AS line,
    LATERAL (SELECT split_part(line, ' ', 1), substr(line, strpos(line, ' ') + 1))
        AS of_team (schema, password),
    LATERAL (SELECT 'stockbatch_' || schema) AS named (login)
WHERE line <> '' \gexec

-- Large objects are writing that needs no table. Where the administrator is no superuser (most
-- managed servers), this is left undone, and 'stockbatch doctor' says so.
SELECT rolsuper AS may FROM pg_roles WHERE rolname = current_user \gset
\if :may
    \connect stockbatch
    SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure)
    FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^lo(_|read|write)'
        AND has_function_privilege('public', oid, 'EXECUTE') \gexec
\endif
