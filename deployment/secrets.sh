#!/bin/sh
# Make the secrets of a deployment in a folder: passwords of the logins of logins.sql, the URLs with
# which the processes connect, and the certificate by which those of a cluster of workers know each
# other. What is there is kept, so that it can be run again.
#   secrets.sh FOLDER [HOST:PORT [PARAMETERS]]
# An empty file team_NAME_password gets a password as well: that of the login of a team.
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

teams=$(ls | sed -n 's/^\(team_[a-z0-9_]*\)_password$/\1/p')
for login in postgres owner daemon rest dashboard grafana grafana_admin $teams; do
    file=${login}_password
    [ -s "$file" ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$file"
done
for login in owner daemon rest dashboard; do
    [ -s "${login}_url" ] || printf 'postgresql://stockbatch_%s:%s@%s/stockbatch?%s' \
        "$login" "$(cat "${login}_password")" "$server" "$parameters" >"${login}_url"
done
[ -e alert_urls ] || : >alert_urls

# One certificate for the scheduler, the workers and who uses them. The key of the authority that signed
# it is thrown away: nobody makes another one. To replace it, delete the three files.
if ! [ -s cluster_ca.pem ] || ! [ -s cluster_certificate.pem ] || ! [ -s cluster_key.pem ]; then
    work=$(mktemp -d)
    trap 'rm -r "$work"' EXIT
    cat >"$work/settings" <<'END'
[req]
distinguished_name = req
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[member]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:stockbatch-cluster
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
    sign() {
        name=$1 && shift
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$name.key" &&
            openssl req -new -config "$work/settings" -subj "/CN=stockbatch cluster $name" \
                -key "$work/$name.key" -out "$work/$name.csr" &&
            openssl x509 -req -days 3650 -sha256 -extfile "$work/settings" -extensions "$name" \
                -in "$work/$name.csr" -out "$work/$name.pem" "$@"
    }
    {
        sign authority -signkey "$work/authority.key" &&
            sign member -CA "$work/authority.pem" -CAkey "$work/authority.key" -CAcreateserial
    } 2>"$work/said" || { cat "$work/said" >&2; exit 1; }
    cp "$work/authority.pem" cluster_ca.pem
    cp "$work/member.pem" cluster_certificate.pem
    cp "$work/member.key" cluster_key.pem
fi

chmod 644 -- *_password *_url alert_urls cluster_*.pem
echo "secrets are in $(pwd)"
