#!/usr/bin/python3
"""Submits the run on standard input and prints the answer; exits 1 if it was refused. Usage: submit_run.py < run.json"""
import json
import os
import sys
import uuid

import pika

prefix = os.environ.get("MUSTER_PREFIX", "muster")
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()

# Answers come to the exchange `reply`, under a key of our own choice.
key = f"reply.{uuid.uuid4()}"
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, f"{prefix}.reply", key)

channel.basic_publish(
    f"{prefix}.submit",
    "run",
    sys.stdin.read(),
    pika.BasicProperties(
        message_id=str(uuid.uuid4()), content_type="application/json", delivery_mode=2, reply_to=key
    ),
)
for _, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=30):
    if body is None:
        sys.exit("No answer within 30 s: is a manager running? The run waits for one.")
    print(body.decode())
    connection.close()
    sys.exit(0 if json.loads(body)["status"] == "accepted" else 1)
