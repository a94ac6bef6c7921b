#!/usr/bin/python3
"""Prints events, one JSON document per line. Usage: events.py PATTERN, such as 'event.#' or 'event.task.*'"""
import os
import sys

import pika

prefix = os.environ.get("MUSTER_PREFIX", "muster")
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, f"{prefix}.event", sys.argv[1])

# Processes publish no event that nobody hears. This tells them that somebody does; without it they notice within 2 s.
channel.basic_publish(
    f"{prefix}.broadcast", "", '{"type":"control","command":"events_wanted"}', pika.BasicProperties(type="control")
)
print("listening", file=sys.stderr, flush=True)
for _, _, body in channel.consume(queue, auto_ack=True):
    print(body.decode(), flush=True)
