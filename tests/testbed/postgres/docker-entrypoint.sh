#!/bin/sh
# Does what the image of that name does: on an empty data directory it makes a cluster with the password of
# POSTGRES_PASSWORD, sets it up through a server that listens on a socket only (so the log says "ready to accept
# connections" once too often), then becomes the real server.
set -eu

if [ "$(id -u)" = 0 ]; then
    chown postgres:postgres "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
        echo '       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.' >&2
        exit 1
    fi
    passwords=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$passwords"
    initdb --username="$user" --pwfile="$passwords" --auth-local=trust --auth-host=scram-sha-256 \
        --encoding=UTF8 --no-sync -D "$PGDATA"
    rm -f "$passwords"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"

    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    if [ "$database" != postgres ]; then
        createdb --username="$user" "$database"
    fi
    pg_ctl -D "$PGDATA" -m fast -w stop
    echo 'PostgreSQL init process complete; ready for start up.'
fi

if [ "$1" = postgres ]; then
    set -- "$@" -c listen_addresses='*'
fi
exec "$@"
