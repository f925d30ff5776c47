"""A node of Maelstrom's lin-kv: the first node decides, and tells the others what it has decided."""

import json
import sys

LOCAL = sys.argv[1:] == ["local"]
me, nodes, store = None, [], {}


def send(dest, body):
    sys.stdout.write(json.dumps({"src": me, "dest": dest, "body": body}) + "\n")
    sys.stdout.flush()


def perform(body):
    key = json.dumps(body["key"])
    if body["type"] == "read":
        if key not in store:
            return {"type": "error", "code": 20, "text": "no such key"}
        return {"type": "read_ok", "value": store[key]}
    if body["type"] == "write":
        value = body["value"]
    elif key not in store and not body.get("create_if_not_exists"):
        return {"type": "error", "code": 20, "text": "no such key"}
    elif store.get(key, body["from"]) != body["from"]:
        return {"type": "error", "code": 22, "text": f"it is {store[key]}"}
    else:
        value = body["to"]
    store[key] = value
    for node in nodes[1:]:
        send(node, {"type": "decided", "key": key, "value": value})
    return {"type": body["type"] + "_ok"}


def main():
    global me, nodes
    for line in sys.stdin:
        message = json.loads(line)
        source, body = message["src"], message["body"]
        kind = body["type"]
        if kind == "init":
            me, nodes = body["node_id"], sorted(body["node_ids"])
            answer = {"type": "init_ok"}
        elif kind == "decided":
            store[body["key"]] = body["value"]
            continue
        elif kind == "ask":
            # Another node asks for one of its clients.
            answer = perform(body["body"])
            send(source, {"type": "answer", "client": body["client"], "msg": body["msg"], "body": answer})
            continue
        elif kind == "answer":
            send(body["client"], dict(body["body"], in_reply_to=body["msg"]))
            continue
        elif kind not in ("read", "write", "cas"):
            answer = {"type": "error", "code": 10, "text": f"there is no {kind}"}
        elif me == nodes[0] or LOCAL and kind == "read":
            answer = perform(body)
        else:
            send(nodes[0], {"type": "ask", "client": source, "msg": body["msg_id"], "body": body})
            continue
        send(source, dict(answer, in_reply_to=body["msg_id"]))


if __name__ == "__main__":
    main()
