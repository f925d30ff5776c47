"""A client of RabbitMQ, with pika: one quorum queue for each queue that is asked for."""

import json
import logging
import sys

import pika
from pika.exceptions import AMQPError, NackError, UnroutableError


class Refused(Exception):
    """Nothing was sent that changes anything."""


class Broker:
    def __init__(self, address, port, size):
        where = pika.ConnectionParameters(
            address, port, heartbeat=0, socket_timeout=2, stack_timeout=4,
            blocked_connection_timeout=10,
        )
        self.known, self.size = set(), size
        try:
            self.connection = pika.BlockingConnection(where)
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()
        except (AMQPError, OSError) as e:
            raise Refused(f"connecting: {type(e).__name__}: {e}") from e

    def close(self):
        try:
            self.connection.close()
        except (AMQPError, OSError):
            pass

    def make(self, queue):
        """It is no error if it is there."""
        if queue in self.known:
            return
        how = {"x-queue-type": "quorum", "x-quorum-initial-group-size": self.size}
        try:
            self.channel.queue_declare(queue, durable=True, arguments=how)
        except (AMQPError, OSError) as e:
            raise Refused(f"declaring: {type(e).__name__}: {e}") from e
        self.known.add(queue)

    def enqueue(self, queue, value):
        self.make(queue)
        kept = pika.BasicProperties(delivery_mode=2)
        # Returns when a quorum has it.
        self.channel.basic_publish("", queue, json.dumps(value).encode(), kept, mandatory=True)

    def dequeue(self, queue):
        self.make(queue)
        taken, _, body = self.channel.basic_get(queue, auto_ack=True)
        return None if taken is None else json.loads(body)


def main():
    logging.disable(logging.CRITICAL)
    broker = to = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            to = (asked["address"], asked["port"], len(asked["nodes"]))
            answer = {"offers": ["enqueue", "dequeue"]}
        else:
            answer = {}
            try:
                broker = broker or Broker(*to)
                if asked["f"] == "enqueue":
                    broker.enqueue(asked["key"], asked["value"])
                else:
                    answer["value"] = broker.dequeue(asked["key"])
            except (Refused, UnroutableError) as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except NackError as e:
                # It may come into the queue all the same.
                answer = {"type": "info", "error": f"refused by the queue: {e}"}
            except (AMQPError, OSError, ValueError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            if answer.get("type") and broker:
                broker.close()
                broker = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
