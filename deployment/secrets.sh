#!/bin/sh
# Make the secrets of a deployment in a folder: passwords of the logins of logins.sql, and the URLs
# with which the processes connect. What is there is kept, so that it can be run again.
#   secrets.sh FOLDER [HOST:PORT [PARAMETERS]]
# The folder is closed to others. The files in it are readable: containers see them, one by one, as
# users of their own.
set -eu
folder=${1:?"usage: $0 FOLDER [HOST:PORT [PARAMETERS]]"}
server=${2:-postgres:5432}
parameters=${3:-sslmode=disable}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

for login in postgres owner daemon rest dashboard grafana grafana_admin; do
    file=${login}_password
    [ -s "$file" ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$file"
done
for login in owner daemon rest dashboard; do
    [ -s "${login}_url" ] || printf 'postgresql://stockbatch_%s:%s@%s/stockbatch?%s' \
        "$login" "$(cat "${login}_password")" "$server" "$parameters" >"${login}_url"
done
[ -e alert_urls ] || : >alert_urls
chmod 644 -- *_password *_url alert_urls
echo "secrets are in $(pwd)"
