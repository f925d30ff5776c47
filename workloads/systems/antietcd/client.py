"""A client of AntiEtcd: the part of etcd's JSON over HTTP that it has."""

import base64
import http.client
import json
import sys

OFFERS = ["read", "write", "cas", "append", "add", "txn"]
# How often something that another was faster with is tried again.
ATTEMPTS = 20
# Said before anything is done.
REFUSED = ("Quorum not available", "Not leader", "Leader is unavailable")


class Refused(Exception):
    """Nothing was done: nothing was sent, or the node said so before it did anything."""


class Conflict(Exception):
    pass


def text(value):
    # Keys of transactions are numbers.
    return base64.b64encode(str(value).encode()).decode()


def compare(key, revision):
    return {"key": text(key), "target": "MOD", "mod_revision": revision}


def put(key, value):
    return {"request_put": {"key": text(key), "value": text(json.dumps(value))}}


class Node:
    def __init__(self, address, port):
        self.connection = http.client.HTTPConnection(address, port, timeout=10)

    def close(self):
        self.connection.close()

    def ask(self, path, body):
        try:
            if self.connection.sock is None:
                self.connection.connect()
        except OSError as e:
            raise Refused(f"connecting: {e}") from e
        self.connection.request("POST", "/v3/" + path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status == 200:
            return json.loads(said)
        said = said.decode(errors="replace").strip()
        if said in REFUSED:
            raise Refused(said)
        raise ConnectionError(f"status {answer.status}: {said}")

    def read(self, keys):
        """The value and revision of each key, all of one moment; none and 0 where it has none."""
        ranges = [{"request_range": {"key": text(key)}} for key in keys]
        answers = self.ask("kv/txn", {"success": ranges})["responses"]
        found = {}
        for key, answer in zip(keys, answers):
            kvs = answer["response_range"]["kvs"]
            value = json.loads(base64.b64decode(kvs[0]["value"])) if kvs else None
            found[key] = (value, kvs[0]["mod_revision"] if kvs else 0)
        return found

    def change(self, keys, how):
        """Puts what `how` makes of what there is, if nobody is faster; it gets one more if so."""
        for _ in range(ATTEMPTS):
            try:
                found = self.read(keys)
            except (OSError, http.client.HTTPException, ValueError) as e:
                raise Refused(f"reading before writing: {e}") from e
            puts = how({key: value for key, (value, _) in found.items()})
            asked = {
                "compare": [compare(key, revision) for key, (_, revision) in found.items()],
                "success": [put(key, value) for key, value in puts.items()],
            }
            if self.ask("kv/txn", asked)["succeeded"]:
                return
        raise Refused(f"others were faster {ATTEMPTS} times")


def transact(node, txn):
    """Reads and appends in their order, on what there was when the transaction took place."""
    keys = sorted({key for _, key, _ in txn})
    done = []

    def how(lists):
        done.clear()
        puts = {}
        for f, key, value in txn:
            if f == "append":
                puts[key] = lists[key] = (lists[key] or []) + [value]
            else:
                value = lists[key]
            done.append([f, key, value])
        return puts

    if any(f == "append" for f, _, _ in txn):
        node.change(keys, how)
    else:
        how({key: value for key, (value, _) in node.read(keys).items()})
    return done


def perform(node, f, key, value):
    if f == "read":
        found = node.read([key])[key][0]
        return {"value": found or 0 if key.startswith("counter") else found}
    if f == "write":
        node.ask("kv/put", put(key, value)["request_put"])
    elif f == "cas":
        def how(before):
            if before[key] != value[0]:
                raise Conflict(f"it is {before[key]}")
            return {key: value[1]}
        node.change([key], how)
    elif f == "append":
        node.change([key], lambda before: {key: (before[key] or []) + [value]})
    elif f == "add":
        node.change([key], lambda before: {key: (before[key] or 0) + value})
    elif f == "txn":
        return {"value": transact(node, value)}
    else:
        return {"type": "fail", "code": 10, "error": f"there is no {f}"}
    return {}


def main():
    node = to = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            to = (asked["address"], asked["port"])
            answer = {"offers": OFFERS}
        else:
            node = node or Node(*to)
            try:
                answer = perform(node, asked["f"], asked["key"], asked["value"])
            except Conflict as e:
                answer = {"type": "fail", "error": f"conflict: {e}"}
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, http.client.HTTPException, ValueError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            lost = answer.get("type") and not answer.get("error", "").startswith("conflict")
            if lost:
                node.close()
                node = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
