"""A client of ZooKeeper, with kazoo: its session is with its node's server alone."""

import json
import logging
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

OFFERS = [
    "read", "write", "cas", "append", "add",
    "enqueue", "dequeue", "acquire", "release", "generate",
]
# How often something that another was faster with is tried again.
ATTEMPTS = 20


class Refused(Exception):
    """Nothing was sent that changes anything, or the server said that it did nothing."""


class Conflict(Exception):
    pass


class Server:
    def __init__(self, address, port):
        self.client = KazooClient(hosts=f"{address}:{port}", timeout=4.0, connection_retry={"max_tries": 0})
        try:
            self.client.start(timeout=2)
        except (KazooTimeoutError, KazooException) as e:
            self.close()
            raise Refused(f"connecting: {e or type(e).__name__}") from e

    def close(self):
        try:
            self.client.stop()
            self.client.close()
        except KazooException:
            pass

    def get(self, path, fresh=True):
        """The value and its version; none of either if there is no such node."""
        if fresh:
            # The server answers this after all that the leader had committed before.
            self.client.sync(path)
        try:
            data, stat = self.client.get(path)
        except NoNodeError:
            return None, None
        return json.loads(data), stat.version

    def put(self, path, value, version):
        """Whether it was put there: by the version that there was, if somebody did not change it."""
        data = json.dumps(value).encode()
        try:
            if version is None:
                self.client.create(path, data)
            else:
                self.client.set(path, data, version=version)
        except (NodeExistsError, NoNodeError, BadVersionError):
            return False
        return True

    def change(self, path, how):
        """Replaces a value by what `how` makes of it."""
        for _ in range(ATTEMPTS):
            # So far nothing was written.
            before, version = reading(lambda: self.get(path))
            if self.put(path, how(before), version):
                return
        raise Conflict(f"others were faster {ATTEMPTS} times")

    def enqueue(self, path, value):
        self.client.ensure_path(path)
        self.client.create(path + "/n-", json.dumps(value).encode(), sequence=True)

    def dequeue(self, path):
        for _ in range(ATTEMPTS):
            try:
                reading(lambda: self.client.sync(path))
                waiting = reading(lambda: self.client.get_children(path))
                if not waiting:
                    return None
                first = f"{path}/{min(waiting)}"
                value = json.loads(reading(lambda: self.client.get(first))[0])
            except NoNodeError:
                # There is no queue yet, or another took the first.
                if reading(lambda: self.client.exists(path)) is None:
                    return None
                continue
            try:
                self.client.delete(first)
                return value
            except NoNodeError:
                continue
        raise Conflict(f"others were faster {ATTEMPTS} times")


def reading(ask):
    """What fails while nothing has been written has failed."""
    try:
        return ask()
    except NoNodeError:
        raise
    except KazooException as e:
        raise Refused(f"reading before writing: {type(e).__name__}") from e


def compared(path, from_, to):
    def how(before):
        if before != from_:
            raise Conflict(f"it is {before}")
        return to
    return how


def perform(server, f, key, value, fresh):
    path = f"/{key}"
    if f == "read":
        found = server.get(path, fresh)[0]
        return {"value": found or 0 if key.startswith("counter") else found}
    if f == "write":
        data = json.dumps(value).encode()
        for _ in range(ATTEMPTS):
            try:
                server.client.set(path, data)
                return {}
            except NoNodeError:
                pass
            try:
                server.client.create(path, data)
                return {}
            except NodeExistsError:
                pass
        raise Refused("it was there, and it was not")
    if f == "cas":
        server.change(path, compared(path, *value))
        return {}
    if f == "append":
        server.change(path, lambda before: (before or []) + [value])
        return {}
    if f == "add":
        server.change(path, lambda before: (before or 0) + value)
        return {}
    if f == "enqueue":
        server.enqueue(path, value)
        return {}
    if f == "dequeue":
        return {"value": server.dequeue(path)}
    if f == "acquire":
        try:
            _, stat = server.client.create(path, json.dumps(value).encode(), include_data=True)
        except NodeExistsError:
            raise Conflict("somebody holds it") from None
        return {"value": stat.czxid}
    if f == "release":
        who, version = reading(lambda: server.get(path))
        if who != value:
            raise Conflict(f"it is held by {who}")
        try:
            server.client.delete(path, version=version)
        except (NoNodeError, BadVersionError):
            raise Conflict("it was released") from None
        return {}
    if f == "generate":
        server.client.ensure_path(path)
        made = server.client.create(path + "/n-", b"", sequence=True)
        return {"value": int(made.rsplit("-", 1)[1])}
    return {"type": "fail", "code": 10, "error": f"there is no {f}"}


def main():
    logging.disable(logging.CRITICAL)
    server = to = None
    fresh = True
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            to = (asked["address"], asked["port"])
            fresh = asked["params"]["reads"] == "sync"
            answer = {"offers": OFFERS}
        else:
            try:
                server = server or Server(*to)
                if not server.client.connected:
                    raise Refused("the session has no connection")
                answer = perform(server, asked["f"], asked["key"], asked["value"], fresh)
            except Conflict as e:
                answer = {"type": "fail", "error": f"conflict: {e}"}
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (KazooException, KazooTimeoutError) as e:
                # It may have been done, though the connection is lost.
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            lost = answer.get("type") and not answer.get("error", "").startswith("conflict")
            if lost and server:
                server.close()
                server = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
