#!/bin/sh
# Make the secrets that compose.yaml names, in the folder `secrets` beside it; keep what is there.
# The folder is closed to others; the files in it are readable, by the users inside the containers.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

password() {
    [ -s "secrets/$1" ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"secrets/$1"
}

password postgres_password
password grafana_password
password grafana_admin_password
for user in owner daemon rest dashboard; do
    password "${user}_password"
    printf 'postgresql://stockbatch_%s:%s@postgres:5432/stockbatch?sslmode=disable' \
        "$user" "$(cat "secrets/${user}_password")" >"secrets/${user}_url"
done
[ -e secrets/alert_urls ] || : >secrets/alert_urls
chmod 644 secrets/*
echo "secrets: $(pwd)/secrets; Grafana's admin has the password in secrets/grafana_admin_password"
