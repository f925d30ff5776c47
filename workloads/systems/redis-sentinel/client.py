"""A client of Redis: asks its node's Sentinel who is the master, and then that master."""

import json
import socket
import sys

SENTINEL = 26379
OFFERS = [
    "read", "write", "cas", "scan",
    "enqueue", "dequeue", "acquire", "release", "add", "generate",
]

CAS = "if redis.call('get', KEYS[1]) ~= (ARGV[1] ~= '' and ARGV[1]) then return 0 end " \
      "redis.call('set', KEYS[1], ARGV[2]) return 1"
# Who holds the lock, and its token, which grows with every acquisition.
ACQUIRE = "if redis.call('hget', KEYS[1], 'who') then return false end " \
          "redis.call('hset', KEYS[1], 'who', ARGV[1]) " \
          "return redis.call('hincrby', KEYS[1], 'token', 1)"
RELEASE = "if redis.call('hget', KEYS[1], 'who') ~= ARGV[1] then return 0 end " \
          "redis.call('hdel', KEYS[1], 'who') return 1"
# Errors after which nothing has been done and nothing will be.
DEFINITE = ("READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS")


class Refused(Exception):
    """Nothing was sent, or Redis said that it did nothing."""


class Redis:
    """One connection, by the protocol of Redis (RESP)."""

    def __init__(self, address, port):
        try:
            self.socket = socket.create_connection((address, port), timeout=1)
        except OSError as e:
            raise Refused(f"{address}:{port}: {e}") from e
        self.socket.settimeout(10)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        parts = [str(word).encode() for word in words]
        text = b"*%d\r\n" % len(parts)
        text += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(text)
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            text = rest.decode()
            raise Refused(text) if text.startswith(DEFINITE) else ConnectionError(text)
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        length = int(rest)
        if length < 0:
            return None
        if kind == b"*":
            return [self.answer() for _ in range(length)]
        return self.file.read(length + 2)[:-2].decode()

    def close(self):
        self.socket.close()


def master(address):
    sentinel = Redis(address, SENTINEL)
    try:
        found = sentinel.ask("sentinel", "get-master-addr-by-name", "main")
    except (OSError, ValueError) as e:
        raise Refused(f"sentinel: {e}") from e
    finally:
        sentinel.close()
    if not found:
        raise Refused("the sentinel knows no master")
    return Redis(found[0], int(found[1]))


def perform(redis, f, key, value):
    conflict = {"type": "fail", "error": "conflict"}
    if f == "read" and key.startswith("counter"):
        return {"value": int(redis.ask("get", key) or 0)}
    if f == "read":
        found = redis.ask("get", key)
        return {"value": None if found is None else json.loads(found)}
    if f == "scan":
        keys = redis.ask("keys", key + "*")
        values = redis.ask("mget", *keys) if keys else []
        pairs = zip(keys, values)
        return {"value": {k: json.loads(v) for k, v in pairs if v is not None}}
    if f == "write":
        redis.ask("set", key, json.dumps(value))
        return {}
    if f == "cas":
        before, after = ["" if v is None else json.dumps(v) for v in value]
        return {} if redis.ask("eval", CAS, 1, key, before, after) else conflict
    if f == "enqueue":
        redis.ask("rpush", key, json.dumps(value))
        return {}
    if f == "dequeue":
        found = redis.ask("lpop", key)
        return {"value": None if found is None else json.loads(found)}
    if f == "acquire":
        token = redis.ask("eval", ACQUIRE, 1, key, value)
        return conflict if token is None else {"value": token}
    if f == "release":
        return {} if redis.ask("eval", RELEASE, 1, key, value) else conflict
    if f == "add":
        redis.ask("incrby", key, value)
        return {}
    if f == "generate":
        return {"value": redis.ask("incr", key)}
    return {"type": "fail", "code": 10, "error": f"there is no {f}"}


def main():
    address, redis = None, None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            address = asked["address"]
            answer = {"offers": OFFERS}
        else:
            try:
                redis = redis or master(address)
                answer = perform(redis, asked["f"], asked["key"], asked["value"])
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, ValueError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            # Another may be the master by now.
            if answer.get("type") and answer.get("error") != "conflict" and redis:
                redis.close()
                redis = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
