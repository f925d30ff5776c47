"""A key-value server over HTTP on one node: an example of a system on trial.

    GET  /health             200
    GET  /kv/KEY             200 {"value": V}, or 404
    PUT  /kv/KEY             {"value": V}            200
    POST /kv/KEY/cas         {"from": V, "to": W}    200, or 409
    POST /kv/KEY/append      V                       200
    GET  /kv?prefix=P        200 {KEY: V, ...}

With --sync=always a write is in the file before it is answered. With --sync=never it waits in this
process's buffer, and is lost when the process is killed.
"""

import argparse
import http.server
import json
import os
import threading
import urllib.parse


class Store:
    def __init__(self, path, sync):
        self.lock = threading.Lock()
        self.sync = sync
        self.values = {}
        whole = 0
        if os.path.exists(path):
            with open(path, "rb") as log:
                for line in log:
                    # A line that a kill cut short was never answered.
                    if not line.endswith(b"\n"):
                        break
                    key, value = json.loads(line)
                    self.values[key] = value
                    whole += len(line)
            os.truncate(path, whole)
        self.log = open(path, "ab", buffering=1 << 20)

    def put(self, key, value):
        self.values[key] = value
        self.log.write(json.dumps([key, value]).encode() + b"\n")
        if self.sync == "always":
            self.log.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/health":
            return self.answer(200, "well")
        store = self.server.store
        with store.lock:
            if url.path == "/kv":
                prefix = urllib.parse.parse_qs(url.query).get("prefix", [""])[0]
                return self.answer(
                    200, {k: v for k, v in store.values.items() if k.startswith(prefix)}
                )
            key = url.path.removeprefix("/kv/")
            if key not in store.values:
                return self.answer(404, "no value")
            return self.answer(200, {"value": store.values[key]})

    def do_PUT(self):
        key, body = self.path.removeprefix("/kv/"), self.body()
        with self.server.store.lock:
            self.server.store.put(key, body["value"])
            self.answer(200, "done")

    def do_POST(self):
        key, _, what = self.path.removeprefix("/kv/").partition("/")
        body = self.body()
        store = self.server.store
        with store.lock:
            if what == "append":
                store.put(key, store.values.get(key, []) + [body])
                return self.answer(200, "done")
            if what != "cas":
                return self.answer(400, "no such request")
            if store.values.get(key) != body["from"]:
                return self.answer(409, "another value")
            store.put(key, body["to"])
            self.answer(200, "done")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--sync", choices=["always", "never"], default="always")
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    server.store = Store(os.path.join(args.data, "writes.jsonl"), args.sync)
    print(f"serving on {args.listen}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
