#!/usr/bin/python3
"""A bus-only agent: takes tasks urgent first, reports on them, and answers requests. Usage: agent.py AGENT_ID CAPABILITY

This one shouts the text it is given. A task may ask it to be slow ("seconds") or to fail at first ("failures").
"""
import json
import os
import signal
import sys
import time
import uuid

import pika

prefix = os.environ.get("MUSTER_PREFIX", "muster")
agent, capability = sys.argv[1], sys.argv[2]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()


def report(kind, **fields):
    """Returns once the broker has the report: only then may a delivery be acked."""
    channel.basic_publish(
        f"{prefix}.result",
        kind,
        json.dumps({"type": kind, **fields}),
        pika.BasicProperties(type=kind, content_type="application/json", delivery_mode=2),
    )


def handle(parameters, attempt):
    connection.sleep(parameters.get("seconds", 0))  # sleeps without missing the broker's heartbeats
    if attempt <= parameters.get("failures", 0):
        raise RuntimeError(f"attempt {attempt} was to fail")
    return {"text": parameters["text"].upper(), "by": agent}


def take(method, properties, body):
    task = json.loads(body)
    attempt = (properties.headers or {}).get("x-muster-attempt", 1)
    of_task = {"task_id": properties.message_id or task["id"], "agent_id": agent, "attempt": attempt}
    report("task.started", **of_task, redelivered=method.redelivered, task=task)
    try:
        report("task.progressed", **of_task, fraction=0.1, note="warming up")
        report("task.completed", **of_task, output=handle(task["parameters"], attempt))
    except (RuntimeError, KeyError) as error:
        problem = {"code": type(error).__name__, "message": str(error)}
        # A missing parameter will be missing next time too.
        report("task.failed", **of_task, error=problem, retryable=not isinstance(error, KeyError))
    channel.basic_ack(method.delivery_tag)


def answer(_, method, properties, body):
    request = json.loads(body)
    began = time.monotonic()
    response = {
        "event_type": "agent_response",
        "event_id": str(uuid.uuid4()),
        "request_id": request["event_id"],
        "source_agent": agent,
        "target_agent": request["source_agent"],
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        response.update(status="success", result=handle(request["parameters"], 1))
    except Exception as error:  # whatever it is: the caller waits for it
        response.update(status="error", error={"code": type(error).__name__, "message": str(error)})
    response["duration_ms"] = (time.monotonic() - began) * 1000
    channel.basic_publish(
        f"{prefix}.reply",
        properties.reply_to,
        json.dumps(response),
        pika.BasicProperties(type="agent_response", correlation_id=request["event_id"], content_type="application/json"),
    )


def beat():
    report("agent.heartbeat", agent_id=agent)
    connection.call_later(30, beat)


def wait_for(queue):
    """A manager declares the queues when it reads our registration."""
    while True:
        try:
            probe = connection.channel()
            probe.queue_declare(queue, passive=True)
            probe.close()
            return
        except pika.exceptions.ChannelClosedByBroker:
            connection.sleep(0.1)


def stop(*_):
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, stop)

# Requests come to our own queue, under the key `bus:<agent id>`.
mailbox = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(mailbox, f"{prefix}.agent", f"bus:{agent}")
channel.basic_consume(mailbox, answer, auto_ack=True)

card = {"agent_id": agent, "agent_name": agent, "capacity": 1}
card["capabilities"] = [{"name": capability, "description": "Shouts.", "parameters": {"text": "str"}}]
report("agent.register", agent=card)
queues = [f"{prefix}.task.{capability}.p{priority}" for priority in range(4)] + [f"{prefix}.inbox.{agent}"]
for queue in queues:
    wait_for(queue)
connection.call_later(30, beat)
print("ready", flush=True)

try:
    while True:
        for queue in queues:  # p0 first; start over after every task
            method, properties, body = channel.basic_get(queue)
            if method is not None:
                take(method, properties, body)
                break
        else:
            connection.process_data_events(time_limit=0.1)
except KeyboardInterrupt:
    report("agent.leave", agent_id=agent)
    connection.close()
