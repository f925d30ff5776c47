"""A node of Maelstrom's kafka: each log belongs to one node, which the others ask."""

import json
import os
import sys
import zlib

KEEP, OFFSETS = sys.argv[1:3]
PATH = "messages.jsonl"
# Messages of one answer.
MOST = 1000
me, nodes, logs = None, [], {}


def load():
    """What this node had before it was killed."""
    whole = 0
    with open(PATH, "rb") as file:
        for line in file:
            # A line that a kill cut short was never answered.
            if not line.endswith(b"\n"):
                break
            key, message = json.loads(line)
            logs.setdefault(key, []).append(message)
            whole += len(line)
    os.truncate(PATH, whole)


def send(dest, body):
    sys.stdout.write(json.dumps({"src": me, "dest": dest, "body": body}) + "\n")
    sys.stdout.flush()


def owner(body):
    key = body["key"] if body["type"] == "send" else next(iter(body["offsets"]))
    return nodes[zlib.crc32(key.encode()) % len(nodes)]


def perform(body, file):
    if body["type"] == "send":
        key, message = body["key"], body["msg"]
        log = logs.setdefault(key, [])
        if file:
            file.write(json.dumps([key, message]).encode() + b"\n")
        log.append(message)
        return {"type": "send_ok", "offset": len(log) - 1}
    messages = {
        key: [[at, message] for at, message in enumerate(logs.get(key, []))][first : first + MOST]
        for key, first in body["offsets"].items()
    }
    return {"type": "poll_ok", "msgs": messages}


def main():
    global me, nodes
    file = None
    if KEEP == "file":
        file = open(PATH, "ab", buffering=0)
        load()
    for line in sys.stdin:
        message = json.loads(line)
        source, body = message["src"], message["body"]
        kind = body["type"]
        if kind == "init":
            me, nodes = body["node_id"], sorted(body["node_ids"])
            answer = {"type": "init_ok"}
        elif kind == "ask":
            # Another node asks for one of its clients.
            answer = perform(body["body"], file)
            send(source, {"type": "answer", "client": body["client"], "msg": body["msg"], "body": answer})
            continue
        elif kind == "answer":
            send(body["client"], dict(body["body"], in_reply_to=body["msg"]))
            continue
        elif kind not in ("send", "poll"):
            answer = {"type": "error", "code": 10, "text": f"there is no {kind}"}
        elif OFFSETS == "anybody" or owner(body) == me:
            answer = perform(body, file)
        else:
            send(owner(body), {"type": "ask", "client": source, "msg": body["msg_id"], "body": body})
            continue
        send(source, dict(answer, in_reply_to=body["msg_id"]))


if __name__ == "__main__":
    main()
