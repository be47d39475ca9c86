#!/usr/bin/env bash
# Puts another image under a running docker-compose.yml project, one container after the other, and goes back by itself
# when the new one does not become healthy. `deploy.sh --help` says how; docs/operations.md, "Deploy and roll back", what
# clients see of it.
#
# Two images are told apart by id. Whatever name the compose file gives to its image is moved to the new id, so that a later
# `docker compose up` finds what runs here, and changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<HELP
Usage: deployment/deploy.sh [--limit SECONDS] IMAGE
       deployment/rollback.sh [--limit SECONDS]

Replaces the workers and then the API of the compose project by IMAGE, one at a time. A worker that is replaced takes no
more and ends its runs (CC_DRAIN_MS) after its successor has become healthy. The API is tried beside the old one first, and
then replaced: its port is closed for some seconds, and clients go on from their cursor. rollback.sh does the same with the
image that ran before the last deploy, the API first.

  --limit SECONDS   how long a new container may take to become healthy (90)
  --help            this text

The project and its settings are those of \`docker compose\`: COMPOSE_PROJECT_NAME, .env, and the shell's environment.
EXECUTOR_STATE is the folder that remembers the image before (deployment/state).

Exit: 0 the image runs · 1 it did not become healthy, and the image before runs as if nothing had been · 2 nothing was
done · 3 it did not become healthy, and neither did the image before · 130 interrupted: deploy or roll back again
HELP
}

limit=90 image='' previous=
while (($# > 0)); do
  case $1 in
    --help) usage; exit 0 ;;
    --limit) limit=${2:-}; shift ;;
    --previous) previous=yes ;;
    -*) usage >&2; exit 2 ;;
    *) [[ -z $image ]] || { usage >&2; exit 2; }; image=$1 ;;
  esac
  shift
done
[[ $limit =~ ^[0-9]{1,5}$ ]] || { usage >&2; exit 2; }

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }
refuse() { echo "$*" >&2; exit 2; }
inspect() { docker inspect --format "$1" "$2"; }
name_of() { local name; name=$(inspect '{{.Name}}' "$1"); echo "${name#/}"; }

# `docker compose`, which speaks only when it fails.
compose() {
  local said
  said=$(EXECUTOR_IMAGE=$name docker compose "$@" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; return 1; }
}

# The containers of a service, also those that have ended; the oldest first.
containers() {
  docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$project" \
    --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False | tac
}

# The first container of a service that has another image than this id.
other() {
  local id
  for id in $(containers "$1"); do
    [[ $(inspect '{{.Image}}' "$id") == "$2" ]] || { echo "$id"; return; }
  done
}

await_healthy() {
  local deadline=$((SECONDS + limit)) state status restarts
  while state=$(inspect '{{.State.Status}} {{.RestartCount}} {{.State.Health.Status}}' "$1"); do
    read -r status restarts _ <<<"$state"
    [[ $state != 'running '*' healthy' ]] || return 0
    if ((SECONDS >= deadline || restarts >= 3)) || [[ $status == exited || $status == dead ]]; then break; fi
    sleep 1
  done
  say "$(name_of "$1") is not healthy (${state:-gone}); its last words:"
  docker logs --tail 12 "$1" 2>&1 | sed 's/^/    /'
  return 1
}

# SIGTERM, and as long as the compose file's stop_grace_period allows for what it runs.
retire() {
  local code began=$SECONDS which
  which=$(name_of "$1")
  docker stop "$1" >/dev/null
  code=$(inspect '{{.State.ExitCode}}' "$1")
  docker rm "$1" >/dev/null
  say "$which has ended with $code after $((SECONDS - began)) s"
}

roll_worker() {
  local target=$1 old fresh
  while old=$(other worker "$target") && [[ -n $old ]]; do
    mapfile -t before < <(containers worker)
    compose up --detach --no-deps --no-build --no-recreate --scale "worker=$((${#before[@]} + 1))" worker || true
    fresh=$(containers worker | grep -vxF -f <(printf '%s\n' "${before[@]}") || true)
    [[ -n $fresh ]] || return 1
    if ! await_healthy "$fresh"; then
      retire "$fresh"
      return 1
    fi
    say "$(name_of "$fresh") is healthy; $(name_of "$old") takes no more and ends its runs"
    retire "$old"
  done
}

roll_api() {
  local target=$1 trial=$project-api-trial healthy=yes
  [[ -n $(other api "$target") ]] || return 0
  docker rm --force "$trial" >/dev/null 2>&1 || true
  compose run --detach --no-deps --name "$trial" api || healthy=
  if docker inspect "$trial" >/dev/null 2>&1; then
    if [[ -n $healthy ]]; then await_healthy "$trial" || healthy=; fi
    retire "$trial"
  fi
  [[ -n $healthy ]] || return 1
  say 'a trial of the new API is healthy; the old one closes, and clients come back to the new one'
  local began=$SECONDS
  compose up --detach --no-deps --no-build api || return 1
  await_healthy "$(containers api)" || return 1
  say "the API is healthy again, after $((SECONDS - began)) s"
}

# Puts an image under both services, in the order that is named.
roll() {
  local target=$1 service id
  docker tag "$target" "$name"
  shift
  for service in "$@"; do
    if [[ $service == worker ]]; then roll_worker "$target" || return 1; else roll_api "$target" || return 1; fi
  done
  for id in $(containers worker) $(containers api); do await_healthy "$id" || return 1; done
}

docker version >/dev/null 2>&1 || refuse 'No Docker engine answers.'
running=$(docker compose ps --quiet api 2>/dev/null || true)
[[ -n $running ]] || refuse 'This compose project has no API that runs; start it with: docker compose up --detach --wait'
project=$(inspect '{{index .Config.Labels "com.docker.compose.project"}}' "$running")
name=$(docker compose config | awk '/^  [a-z]/ { service = $1 } service == "api:" && $1 == "image:" { print $2 }')
state=${EXECUTOR_STATE:-deployment/state}
mkdir -p "$state"
if command -v flock >/dev/null; then
  exec 9>"$state/$project.lock"
  flock --nonblock 9 || refuse 'Another deploy of this project is under way.'
fi

order=(worker api) back=(api worker)
if [[ -n $previous ]]; then
  [[ -z $image ]] || refuse 'rollback.sh takes no image.'
  image=$(sed -n 's/^previous=//p' "$state/$project" 2>/dev/null || true)
  [[ -n $image ]] || refuse "$state/$project names no image to go back to."
  order=(api worker) back=(worker api)
fi
[[ -n $image ]] || { usage >&2; exit 2; }
new=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) ||
  refuse "There is no image $image on this engine; build or pull it first."
old=$(inspect '{{.Image}}' "$running")

trap 'say "interrupted: containers of both images may run; deploy or roll back again"; exit 130' INT TERM
say "$project: from ${old:7:12} to ${new:7:12}, ${order[*]}"
if roll "$new" "${order[@]}"; then
  if [[ $old != "$new" ]]; then
    # A name, so that it is not pruned.
    last=${name##*/}
    docker tag "$old" "${name%"$last"}${last%%:*}:previous"
    printf 'current=%s\nprevious=%s\n' "$new" "$old" >"$state/$project.new"
    mv "$state/$project.new" "$state/$project"
  fi
  say "done: ${new:7:12} runs"
  exit 0
fi
say "${new:7:12} did not become healthy; going back to ${old:7:12}"
if roll "$old" "${back[@]}"; then
  say "back: ${old:7:12} runs as before"
  exit 1
fi
say "${old:7:12} is not healthy either; see: docker compose ps --all, docker compose logs"
exit 3
