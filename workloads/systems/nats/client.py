"""A client of NATS: its text protocol over one connection, and JetStream's buckets over that."""

import base64
import json
import socket
import sys
import time
import uuid

STREAM, SUBJECT = "KV_schism", "$KV.schism."
# The condition did not hold, or is that of an operation under way; nothing is there; there is no
# such stream.
WRONG_SEQUENCE, NO_MESSAGE, NO_STREAM = (10071, 10164), 10037, 10059
ATTEMPTS = 20
OFFERS = ["read", "write", "cas", "append", "add"]


class Refused(Exception):
    """Nothing was sent, or there was nobody who took it."""


class Conflict(Exception):
    pass


class Nats:
    def __init__(self, address, port):
        try:
            self.socket = socket.create_connection((address, port), timeout=1)
        except OSError as e:
            raise Refused(f"connecting: {e}") from e
        self.socket.settimeout(10)
        self.file = self.socket.makefile("rb")
        self.inbox, self.asked = f"_INBOX.{uuid.uuid4().hex}", 0
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        self.send(f"CONNECT {json.dumps(options)}\r\nSUB {self.inbox}.* 1\r\n".encode())

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    def request(self, subject, payload=b"", headers=None):
        """What is answered: its headers as text, and its payload."""
        self.asked += 1
        reply = f"{self.inbox}.{self.asked}"
        if headers:
            head = "NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
            head = head.encode()
            sizes = f"{len(head)} {len(head) + len(payload)}"
            self.send(f"HPUB {subject} {reply} {sizes}\r\n".encode() + head + payload + b"\r\n")
        else:
            self.send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")
        while True:
            to, head, body = self.message()
            # An answer that comes too late is passed over.
            if to == reply:
                if head.startswith("NATS/1.0 503"):
                    raise Refused(f"nobody answers {subject}")
                return head, body

    def message(self):
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise ConnectionError("the connection was closed")
            words = line.split()
            kind = words[0].upper()
            if kind == b"PING":
                self.send(b"PONG\r\n")
            elif kind == b"-ERR":
                raise ConnectionError(line.decode().strip())
            elif kind in (b"MSG", b"HMSG"):
                size = int(words[-1])
                head = int(words[-2]) if kind == b"HMSG" else 0
                data = self.file.read(size + 2)[:-2]
                return words[1].decode(), data[:head].decode(), data[head:]

    def api(self, name, asked):
        return json.loads(self.request(f"$JS.API.{name}", json.dumps(asked).encode())[1])


def make_bucket(nats, replicas):
    """As NATS's own clients make one. It is no error if it is there."""
    said = nats.api(f"STREAM.CREATE.{STREAM}", {
        "name": STREAM, "subjects": [SUBJECT + ">"], "storage": "file", "num_replicas": replicas,
        "max_msgs_per_subject": 1, "discard": "new", "allow_direct": True, "allow_rollup_hdrs": True,
        "deny_delete": True,
    })
    if "error" in said:
        raise Refused(str(said["error"]))


class Bucket:
    def __init__(self, address, port, reads):
        self.nats, self.reads = Nats(address, port), reads

    def get(self, key, reads):
        """The value and the number of the message that has it; None and 0 if there is none."""
        if reads == "direct":
            head, body = self.nats.request(f"$JS.API.DIRECT.GET.{STREAM}.{SUBJECT}{key}")
            if head.startswith("NATS/1.0 404"):
                return None, 0
            lines = [line.split(": ", 1) for line in head.split("\r\n") if ": " in line]
            return json.loads(body), int(dict(lines)["Nats-Sequence"])
        said = self.nats.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": SUBJECT + key})
        error = said.get("error")
        if error and error.get("err_code") == NO_MESSAGE:
            return None, 0
        if error:
            raise Refused(str(error))
        message = said["message"]
        return json.loads(base64.b64decode(message["data"])), message["seq"]

    def read(self, key):
        if self.reads != "confirmed":
            return self.get(key, self.reads)[0]
        for _ in range(ATTEMPTS):
            value, sequence = self.get(key, "leader")
            if self.put(key, value, sequence):
                return value
        raise Refused(f"others were faster {ATTEMPTS} times")

    def put(self, key, value, sequence=None):
        """Whether it was put there: after this message if one is named."""
        headers = None
        if sequence is not None:
            headers = {"Nats-Expected-Last-Subject-Sequence": sequence}
        said = json.loads(self.nats.request(SUBJECT + key, json.dumps(value).encode(), headers)[1])
        error = said.get("error")
        if error and error.get("err_code") in WRONG_SEQUENCE:
            return False
        if error and error.get("err_code") == NO_STREAM:
            raise Refused(str(error))
        if error:
            raise ConnectionError(str(error))
        return True

    def change(self, key, how):
        for _ in range(ATTEMPTS):
            try:
                before, sequence = self.get(key, "leader")
            except (OSError, ValueError) as e:
                raise Refused(f"reading before writing: {e}") from e
            if self.put(key, how(before), sequence):
                return
            time.sleep(0.001)
        raise Refused(f"others were faster {ATTEMPTS} times")

    def compare(self, key, from_, to):
        is_other = None

        def how(before):
            nonlocal is_other
            is_other = before != from_
            # A leader that is none any more may show what is old: what differs is written back.
            return before if is_other else to

        self.change(key, how)
        if is_other:
            raise Conflict("it had another value")


def perform(bucket, f, key, value):
    if f == "read":
        found = bucket.read(key)
        return {"value": found or 0 if key.startswith("counter") else found}
    if f == "write":
        bucket.put(key, value)
    elif f == "cas":
        bucket.compare(key, *value)
    elif f == "append":
        bucket.change(key, lambda before: (before or []) + [value])
    elif f == "add":
        bucket.change(key, lambda before: (before or 0) + value)
    else:
        return {"type": "fail", "code": 10, "error": f"there is no {f}"}
    return {}


def main():
    bucket = to = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            to = (asked["address"], asked["port"], asked["params"]["reads"])
            answer = {"offers": OFFERS}
            try:
                bucket = Bucket(*to)
                # It is there after the first time; where nobody leads, no client is to wait for it.
                bucket.nats.socket.settimeout(2)
                make_bucket(bucket.nats, min(5, len(asked["nodes"]) - (len(asked["nodes"]) + 1) % 2))
            except (Refused, OSError, ValueError) as e:
                print(f"making the bucket: {e}", file=sys.stderr)
                bucket = None
            else:
                bucket.nats.socket.settimeout(10)
        else:
            try:
                bucket = bucket or Bucket(*to)
                answer = perform(bucket, asked["f"], asked["key"], asked["value"])
            except Conflict as e:
                answer = {"type": "fail", "error": f"conflict: {e}"}
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, ValueError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            lost = answer.get("type") and not answer.get("error", "").startswith("conflict")
            if lost and bucket:
                bucket.nats.close()
                bucket = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
