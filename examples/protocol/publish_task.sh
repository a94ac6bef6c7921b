#!/bin/sh
# Publishes one task. Usage: publish_task.sh ID CAPABILITY PARAMETERS_JSON   (AMQP_URL, MUSTER_PREFIX)
# amqp-publish sets no message_id, so the id stands in the body. It does not wait for a confirm either: when in doubt run it
# again, the same id is the same task.
set -eu
amqp-publish --url="$AMQP_URL" --exchange="${MUSTER_PREFIX:-muster}.task" --routing-key="task.$2.p2" \
  --persistent --content-type=application/json \
  --body="{\"id\":\"$1\",\"capability\":\"$2\",\"parameters\":$3}"
