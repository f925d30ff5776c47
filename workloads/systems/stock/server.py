"""What is in stock, over TCP: a line of JSON asks, a line answers.

    ["reserve", ARTICLE, N]     true, or false if there are fewer
    ["put-back", ARTICLE, N]    true, or false if there would be more than ten
    ["left", ARTICLE]           how many there are

Each change is in a file before it is answered. With --look=outside a request looks at what is left
before it has the lock: two that come at once both see the same.
"""

import argparse
import json
import os
import socketserver
import threading
import time

MOST = 10


class Stock:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.left = {}
        whole = 0
        if os.path.exists(path):
            with open(path, "rb") as log:
                for line in log:
                    # A line that a kill cut short was never answered.
                    if not line.endswith(b"\n"):
                        break
                    article, left = json.loads(line)
                    self.left[article] = left
                    whole += len(line)
            os.truncate(path, whole)
        self.log = open(path, "ab", buffering=0)

    def change(self, article, by, look):
        if look == "outside":
            left = self.left.get(article, MOST)
            # As long as a question to another service takes.
            time.sleep(0.002)
        with self.lock:
            if look == "inside":
                left = self.left.get(article, MOST)
            if not 0 <= left + by <= MOST:
                return False
            self.log.write(json.dumps([article, left + by]).encode() + b"\n")
            self.left[article] = left + by
            return True


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        stock, look = self.server.stock, self.server.look
        for line in self.rfile:
            f, article, *count = json.loads(line)
            if f == "left":
                with stock.lock:
                    answer = stock.left.get(article, MOST)
            else:
                by = -count[0] if f == "reserve" else count[0]
                answer = stock.change(article, by, look)
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--look", choices=["inside", "outside"], default="inside")
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    stock = Stock(os.path.join(args.data, "stock.jsonl"))
    server = Server((host, int(port)), Handler)
    server.stock, server.look = stock, args.look
    server.serve_forever()


if __name__ == "__main__":
    main()
