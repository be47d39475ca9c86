#!/usr/bin/env bash
# Sees to it that the base images of this project are there: debian:trixie-slim, node:24-trixie-slim, redis:8. Each is
# pulled where an image registry can be reached, and otherwise built, under the same name, from Debian's packages and from
# the `node` and `npm` packages of the npm registry. What is there already is left alone, so it is safe to run again.
#
#   base-images.sh                  pull, or build what cannot be pulled
#   base-images.sh --offline        build without trying to pull
#   base-images.sh --rebuild        make anew those that were built here, to take in Debian's updates
#
# Needs: a Docker engine, npm, and mmdebstrap (installed with apt-get when this runs as root). DEBIAN_MIRROR,
# DEBIAN_SECURITY_MIRROR and npm's own configuration say where packages come from. An image that was built here carries the
# label `cc-executor.stand-in`: it is not the public image, holds the certificate authorities that this machine added to its
# own (/usr/local/share/ca-certificates), and is for this site alone.
set -euo pipefail
cd "$(dirname "$0")/.."

SUITE=trixie
BASE_IMAGE=debian:$SUITE-slim
NODE_IMAGE=node:24-$SUITE-slim
REDIS_IMAGE=redis:8
LABEL=cc-executor.stand-in
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
SECURITY_MIRROR=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

pulling=yes rebuilding=
for option in "$@"; do
  case $option in
    --offline) pulling= ;;
    --rebuild) rebuilding=yes ;;
    *) echo "There is no option $option; see the top of $0." >&2; exit 2 ;;
  esac
done
docker version >/dev/null 2>&1 || { echo 'No Docker engine answers.' >&2; exit 1; }

# Only the names themselves: an image that was built from a stand-in carries its label too.
if [[ -n $rebuilding ]]; then
  pulling=
  for image in "$REDIS_IMAGE" "$NODE_IMAGE" "$BASE_IMAGE"; do
    label=$(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$image" 2>/dev/null || true)
    if [[ $label == 1 ]]; then docker rmi --force "$image" >/dev/null; fi
  done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whether an image is there, or can be pulled. After one pull has failed the others are not tried: it takes a while.
have() {
  docker image inspect "$1" >/dev/null 2>&1 && return
  [[ -n $pulling ]] || return 1
  timeout 300 docker pull --quiet "$1" >/dev/null 2>&1 && return
  echo "$1 cannot be pulled; building it." >&2
  pulling=
  return 1
}

make_base() {
  if ! command -v mmdebstrap >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
  fi
  local sources=(
    "deb [signed-by=$KEYRING] $MIRROR $SUITE main"
    "deb [signed-by=$KEYRING] $MIRROR $SUITE-updates main"
    "deb [signed-by=$KEYRING] $SECURITY_MIRROR $SUITE-security main"
  )
  # The certificate authorities of this machine go in, and with them what an inspecting network needs.
  mmdebstrap --quiet --variant=minbase --include=ca-certificates --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true' \
    --customize-hook='chroot "$1" update-ca-certificates >/dev/null 2>&1' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*' \
    "$SUITE" - "${sources[@]}" </dev/null |
    docker import --change 'CMD ["bash"]' --change "LABEL $LABEL=1" - "$BASE_IMAGE" >/dev/null
}

make_node() {
  local version architecture
  version=$(sed -n 's/^ *"node": "\([0-9.]*\)".*/\1/p' package.json | tail -n 1)
  case $(uname -m) in
    x86_64) architecture=x64 ;;
    aarch64) architecture=arm64 ;;
    *) echo "There is no node package for $(uname -m)." >&2; return 1 ;;
  esac
  mkdir -p "$work/node/program" "$work/node/npm"
  (
    cd "$work/node"
    npm pack --silent "node-linux-$architecture@$version" npm@11 >/dev/null
    tar xzf node-linux-*.tgz -C program --strip-components=2 package/bin/node
    tar xzf npm-*.tgz -C npm --strip-components=1
    rm ./*.tgz
  )
  cat >"$work/node/Dockerfile" <<DOCKERFILE
FROM $BASE_IMAGE
RUN apt-get update && apt-get install -y --no-install-recommends libatomic1 && rm -rf /var/lib/apt/lists/*
COPY program/node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
 && groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
LABEL $LABEL=1
CMD ["node"]
DOCKERFILE
  build "$NODE_IMAGE" "$work/node"
}

make_redis() {
  mkdir -p "$work/redis"
  cat >"$work/redis/Dockerfile" <<DOCKERFILE
FROM $BASE_IMAGE
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \
 && mkdir /data && chown redis:redis /data
USER redis
WORKDIR /data
VOLUME /data
EXPOSE 6379
LABEL $LABEL=1
CMD ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data"]
DOCKERFILE
  build "$REDIS_IMAGE" "$work/redis"
}

build() {
  DOCKER_BUILDKIT=1 docker build --quiet --tag "$1" "$2" >"$work/said" 2>&1 || { cat "$work/said" >&2; return 1; }
}

have "$BASE_IMAGE" || make_base
have "$NODE_IMAGE" || make_node
have "$REDIS_IMAGE" || make_redis
for image in "$BASE_IMAGE" "$NODE_IMAGE" "$REDIS_IMAGE"; do
  docker image inspect --format "{{index .RepoTags 0}}  {{.Architecture}}  {{.Size}} bytes" "$image"
done
