#!/usr/bin/python3
"""Asks whoever offers an action and prints the first answer. Usage: request.py ACTION PARAMETERS_JSON"""
import json
import os
import sys
import time
import uuid

import pika

prefix = os.environ.get("MUSTER_PREFIX", "muster")
action, parameters = sys.argv[1], json.loads(sys.argv[2])
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()

key = f"reply.{uuid.uuid4()}"
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, f"{prefix}.reply", key)

request = {
    "event_type": "agent_request",
    "event_id": str(uuid.uuid4()),
    "source_agent": "my-program",
    "target_agent": "*",
    "action": action,
    "parameters": parameters,
    "timeout_seconds": 10,
    "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
}
# To one agent: exchange `agent`, routing key its instance (the event agent.joined names it), mandatory.
channel.basic_publish(
    f"{prefix}.broadcast",
    "",
    json.dumps(request),
    pika.BasicProperties(type="agent_request", message_id=request["event_id"], reply_to=key),
)
for _, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=10):
    if body is None:
        sys.exit(f"Nobody who offers '{action}' answered within 10 s.")
    print(body.decode())
    connection.close()
    sys.exit(0 if json.loads(body)["status"] == "success" else 1)
