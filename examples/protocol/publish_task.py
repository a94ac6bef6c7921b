#!/usr/bin/python3
"""Publishes one task. Usage: publish_task.py CAPABILITY PARAMETERS_JSON [p0|p1|p2|p3]   (AMQP_URL, MUSTER_PREFIX)"""
import json
import os
import sys
import uuid

import pika

prefix = os.environ.get("MUSTER_PREFIX", "muster")
capability, parameters = sys.argv[1], json.loads(sys.argv[2])
priority = sys.argv[3] if len(sys.argv) > 3 else "p2"
task_id = str(uuid.uuid4())  # publishing the same id again is safe: it is the same task

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()  # basic_publish returns only once the broker has the message on disk
channel.basic_publish(
    exchange=f"{prefix}.task",
    routing_key=f"task.{capability}.{priority}",
    body=json.dumps({"capability": capability, "priority": priority.upper(), "parameters": parameters}),
    properties=pika.BasicProperties(
        message_id=task_id,
        content_type="application/json",
        delivery_mode=2,
        app_id="my-program",
    ),
)
connection.close()
print(task_id)
