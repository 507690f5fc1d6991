-- The database and the logins of the processes, made by an administrator before the first
-- 'stockbatch migrate'. Each password is in a file of the folder `secrets`; run again with other
-- files, it changes the passwords.
--
--   psql -v secrets=/path/to/folder -f logins.sql postgresql://postgres@host/postgres
--
--   stockbatch_owner       migrates; in no group
--   stockbatch_daemon      runs the daemon and every other command: stockbatch_writer
--   stockbatch_rest        the REST service: stockbatch_api
--   stockbatch_dashboard   the built-in dashboard: stockbatch_reader
--   stockbatch_grafana     Grafana, and the like: stockbatch_reader
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

-- Without a password a login would be open to whoever pg_hba.conf trusts.
SELECT '' IN (:'owner', :'daemon', :'rest', :'dashboard', :'grafana') AS lacking \gset
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

ALTER ROLE stockbatch_owner LOGIN PASSWORD :'owner' CONNECTION LIMIT 5;
ALTER ROLE stockbatch_daemon LOGIN PASSWORD :'daemon' CONNECTION LIMIT 40;
ALTER ROLE stockbatch_rest LOGIN PASSWORD :'rest' CONNECTION LIMIT 40;
ALTER ROLE stockbatch_dashboard LOGIN PASSWORD :'dashboard' CONNECTION LIMIT 20;
ALTER ROLE stockbatch_grafana LOGIN PASSWORD :'grafana' CONNECTION LIMIT 10;

ALTER ROLE stockbatch_daemon SET statement_timeout = '10min';
ALTER ROLE stockbatch_rest SET statement_timeout = '30s';
ALTER ROLE stockbatch_dashboard SET statement_timeout = '60s';
ALTER ROLE stockbatch_grafana SET statement_timeout = '30s';
ALTER ROLE stockbatch_rest SET default_transaction_read_only = on;
ALTER ROLE stockbatch_dashboard SET default_transaction_read_only = on;
ALTER ROLE stockbatch_grafana SET default_transaction_read_only = on;

SELECT 'CREATE DATABASE stockbatch OWNER stockbatch_owner ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'stockbatch') \gexec

REVOKE ALL ON DATABASE stockbatch FROM PUBLIC;
GRANT CONNECT ON DATABASE stockbatch TO stockbatch_writer, stockbatch_api, stockbatch_reader;
GRANT TEMPORARY ON DATABASE stockbatch TO stockbatch_writer; -- rows in bulk come by way of a table
