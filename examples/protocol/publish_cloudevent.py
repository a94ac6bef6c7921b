#!/usr/bin/python3
"""Publishes a task as a CloudEvent. Usage: publish_cloudevent.py structured|binary CAPABILITY PARAMETERS_JSON"""
import json
import os
import sys
import uuid

import pika

prefix = os.environ.get("MUSTER_PREFIX", "muster")
mode, capability, parameters = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
event = {"specversion": "1.0", "id": str(uuid.uuid4()), "type": "my.task", "source": "/my-program"}
task = {"capability": capability, "parameters": parameters}

if mode == "structured":  # everything in the body
    body = {**event, "datacontenttype": "application/json", "data": task}
    properties = pika.BasicProperties(content_type="application/cloudevents+json", delivery_mode=2)
else:  # binary: the task in the body, the event's attributes in headers
    body = task
    headers = {f"cloudEvents_{name}": value for name, value in event.items()}
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2, headers=headers)

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish(f"{prefix}.task", f"task.{capability}.p2", json.dumps(body), properties)
connection.close()
print(event["id"])
