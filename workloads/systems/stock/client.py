"""A client of the stock for Schism: JSON lines on stdin and stdout, one at a time."""

import json
import socket
import sys

OFFERS = ["reserve", "put-back", "left"]


class Refused(Exception):
    """Nothing was sent."""


class Connection:
    def __init__(self, address, port):
        self.to = (address, port)
        self.file = None

    def ask(self, request):
        if self.file is None:
            try:
                connected = socket.create_connection(self.to, timeout=10)
            except OSError as why:
                raise Refused(str(why)) from why
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file = connected.makefile("rwb", buffering=0)
        try:
            self.file.write(json.dumps(request).encode() + b"\n")
            line = self.file.readline()
        except OSError:
            self.file = None
            raise
        if not line.endswith(b"\n"):
            self.file = None
            raise ConnectionError("the connection ended before the answer")
        return json.loads(line)


def main():
    connection = None
    for line in sys.stdin:
        message = json.loads(line)
        if message["f"] == "init":
            connection = Connection(message["address"], message["port"])
            reply = {"type": "ok", "offers": OFFERS}
        else:
            f, key, value = message["f"], message["key"], message["value"]
            request = [f, key] if f == "left" else [f, key, value]
            try:
                reply = {"type": "ok", "value": connection.ask(request)}
            except Refused as why:
                reply = {"type": "fail", "error": f"refused: {why}"}
            except Exception as why:
                # It may have happened.
                reply = {"type": "info", "error": f"{type(why).__name__}: {why}"}
        print(json.dumps({"id": message["id"], **reply}), flush=True)


if __name__ == "__main__":
    main()
