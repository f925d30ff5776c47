"""A client program for Schism: JSON lines on stdin and stdout, one at a time."""

import http.client
import json
import sys
import urllib.parse

OFFERS = ["read", "write", "cas", "append", "scan"]


class Connection:
    def __init__(self, address, port):
        self.to = (address, port)
        self.http = None

    def ask(self, method, path, body=None):
        """Status and body. Raises ConnectionRefusedError if nothing was sent."""
        if self.http is None:
            http_ = http.client.HTTPConnection(*self.to, timeout=10)
            http_.connect()
            self.http = http_
        try:
            self.http.request(method, path, None if body is None else json.dumps(body))
            answer = self.http.getresponse()
            return answer.status, json.loads(answer.read())
        except Exception:
            self.http.close()
            self.http = None
            raise


def perform(connection, f, key, value):
    path = "/kv/" + urllib.parse.quote(key, safe="")
    if f == "read":
        status, body = connection.ask("GET", path)
        if status == 404:
            return {"type": "ok", "value": None}
        return {"type": "ok", "value": body["value"]} if status == 200 else unknown(status)
    if f == "scan":
        status, body = connection.ask("GET", "/kv?prefix=" + urllib.parse.quote(key))
        return {"type": "ok", "value": body} if status == 200 else unknown(status)
    if f == "write":
        status, _ = connection.ask("PUT", path, {"value": value})
    elif f == "cas":
        status, _ = connection.ask("POST", path + "/cas", {"from": value[0], "to": value[1]})
        if status == 409:
            return {"type": "fail", "error": "conflict"}
    elif f == "append":
        status, _ = connection.ask("POST", path + "/append", value)
    else:
        return {"type": "fail", "code": 10, "error": f"there is no {f}"}
    return {"type": "ok"} if status == 200 else unknown(status)


def unknown(status):
    return {"type": "info", "error": f"status {status}"}


def main():
    connection = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            connection = Connection(asked["address"], asked["port"])
            answer = {"type": "ok", "offers": OFFERS}
        else:
            try:
                answer = perform(connection, asked["f"], asked["key"], asked["value"])
            except ConnectionRefusedError as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, http.client.HTTPException, ValueError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
