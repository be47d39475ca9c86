#!/bin/sh
# Runs a task over HTTP, follows it as an event stream, and steers another one. Needs curl.
#   CC_URL=http://127.0.0.1:8000 CC_API_KEY=cck_… sh examples/quick-start.sh
set -eu
: "${CC_URL:=http://127.0.0.1:8000}"
: "${CC_API_KEY:?set it to the key that the service printed at its first start}"

call() {
  path=$1
  shift
  curl --silent --show-error --fail-with-body "$CC_URL$path" \
    --header "Authorization: Bearer $CC_API_KEY" --header 'Content-Type: application/json' "$@"
}

echo '--- wait for the end'
call /v1/execute --data '{"prompt":"Say hello"}'
echo

echo '--- follow the events as they come'
call /v1/execute --no-buffer --header 'Accept: text/event-stream' --data '{"prompt":"Say hello"}'

echo '--- accept now, read later: an Idempotency-Key makes it safe to send again'
key="quick-start-$$"
first=$(call /v1/executions --header "Idempotency-Key: $key" --data '{"prompt":"Say hello"}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
again=$(call /v1/executions --header "Idempotency-Key: $key" --data '{"prompt":"Say hello"}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
[ "$first" = "$again" ] && echo "one execution: $first"

echo '--- the events after the first, waiting up to 20 s for them'
call "/v1/executions/$first/events?after=1&waitMs=20000&limit=2"
echo

echo '--- a file in, a file out'
call /v1/workspaces/quick-start/files/notes.txt --request PUT --header 'Content-Type: text/plain' --data 'remember this'
echo
call /v1/workspaces/quick-start/files/notes.txt
echo

echo '--- end it; asking for the end of what has ended is harmless'
call "/v1/executions/$first/cancel" --request POST > /dev/null && echo done
