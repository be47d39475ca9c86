#!/usr/bin/env bash
# Sees to it that a Docker engine with compose v2 and buildx answers: on a Debian machine (12 or newer, root) that has
# none, installs them from Debian's packages and starts the engine. Safe to run again. Whoever has an engine needs this not.
#
# Where no service supervisor starts the engine, it runs in the background: its pid is in /run/docker.pid, what it says in
# /var/log/dockerd.log.
set -euo pipefail

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }
plugins_answer() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }

if engine_answers && plugins_answer; then
  echo 'A Docker engine with compose and buildx answers.'
  exit 0
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo 'No Docker engine answers, and installing one takes root and Debian packages.' >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo 'Some package lists could not be read; going on with the others.' >&2

if ! engine_answers; then
  if ! command -v dockerd >/dev/null; then
    packages=(docker.io iptables)
    # From Debian 13 on the client is a package of its own.
    if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  fi
  if ! engine_answers; then
    setsid nohup dockerd </dev/null >/var/log/dockerd.log 2>&1 &
  fi
  for ((tries = 0; tries < 150; tries++)); do
    if engine_answers; then break; fi
    sleep 0.2
  done
  engine_answers || { tail -n 20 /var/log/dockerd.log >&2; echo 'The Docker engine does not answer.' >&2; exit 1; }
fi

# The plug-ins are single programs that need only libc, and Debian 12 has them too old or not at all: they come from
# Debian 13's packages, unpacked into the folder of plug-ins.
if ! plugins_answer; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{state/lists/partial,cache/archives/partial,parts,packages}
  mirror=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" \
    >"$work/sources.list"
  options=(
    -o Dir::State="$work/state" -o Dir::Cache="$work/cache" -o Dir::State::status=/var/lib/dpkg/status
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" -o APT::Sandbox::User=root
  )
  apt-get "${options[@]}" update -qq
  (cd "$work/packages" && apt-get "${options[@]}" download -qq docker-compose docker-buildx)
  for package in "$work"/packages/*.deb; do dpkg -x "$package" "$work/unpacked"; done
  plugins=/usr/local/lib/docker/cli-plugins
  mkdir -p "$plugins"
  cp "$work"/unpacked/usr/libexec/docker/cli-plugins/* "$plugins/"
  plugins_answer || { echo 'docker compose or docker buildx does not answer.' >&2; exit 1; }
fi
echo 'A Docker engine with compose and buildx answers.'
