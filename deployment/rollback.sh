#!/usr/bin/env bash
# Goes back to the image that ran before the last deploy; docs/operations.md, "Deploy and roll back".
exec "$(dirname "$0")/deploy.sh" --previous "$@"
