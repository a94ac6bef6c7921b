#!/bin/sh
# A bus-only agent in shell: counts the bytes of each task it is given. Usage: agent.sh AGENT_ID CAPABILITY
set -eu
prefix="${MUSTER_PREFIX:-muster}"

report() { # TYPE FIELDS
  amqp-publish --url="$AMQP_URL" --exchange="$prefix.result" --routing-key="$1" --persistent \
    --content-type=application/json --body="{\"type\":\"$1\",$2}"
}

if [ "${3:-}" = take ]; then # called by amqp-consume below: the task on standard input, acked if we exit 0
  body=$(cat)
  # What Muster dispatches begins with the id.
  id=$(printf '%s' "$body" | sed 's/^{"id":"\([^"]*\)".*/\1/')
  about="\"task_id\":\"$id\",\"agent_id\":\"$1\""
  report task.started "$about,\"task\":$body"
  report task.completed "$about,\"output\":{\"bytes\":${#body}}"
  exit 0
fi

report agent.register "\"agent\":{\"agent_id\":\"$1\",\"agent_name\":\"$1\",\"capabilities\":[{\"name\":\"$2\"}]}"
while sleep 30; do report agent.heartbeat "\"agent_id\":\"$1\""; done >/dev/null 2>&1 &
beating=$!
trap 'kill $beating $! 2>/dev/null; report agent.leave "\"agent_id\":\"$1\""; exit 0' INT TERM

# One class is enough for a small agent. A manager declares the queue when it reads our registration, so try until it is there.
while :; do
  amqp-consume --url="$AMQP_URL" --queue="$prefix.task.$2.p2" --prefetch-count=1 "$0" "$1" "$2" take 2>/dev/null &
  wait $! || sleep 0.2
done
