#!/bin/sh
# Starts the Redis server of docker-compose.yml with a password, as the user `redis` and without any capability.
#
# With REDIS_URL (redis://:PASSWORD@redis:6379) the password is the operator's. Without, one of 192 random bits is made, and
# the address with it is put where api and worker look for it: on a volume in memory, which no disk ever holds and which
# is gone when the last container of the project stops. Redis keeps no password of its own, so a new one does no harm.
set -eu

given=/run/redis/url
if [ -z "${REDIS_URL:-}" ] && [ ! -s "$given" ]; then
  made=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  printf 'redis://:%s@redis:6379\n' "$made" >"$given.new"
  chmod 0444 "$given.new"
  mv "$given.new" "$given"
fi

url=${REDIS_URL:-$(cat "$given")}
password=${url#*://*:}
password=${password%@*}
case $password in
  *[!A-Za-z0-9._~-]* | '')
    echo 'REDIS_URL is not redis://:PASSWORD@redis:6379 with a password of letters, digits and . _ ~ - alone.' >&2
    exit 2
    ;;
esac

umask 077
printf '%s' "$password" >/tmp/password
cat >/tmp/redis.conf <<CONF
requirepass $password
bind * -::*
protected-mode no
dir /data
appendonly yes
appendfsync ${REDIS_FSYNC:-always}
save ""
maxmemory ${REDIS_MAXMEMORY:-1gb}
maxmemory-policy noeviction
CONF
unset REDIS_URL password url
exec redis-server /tmp/redis.conf
