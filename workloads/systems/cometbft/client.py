"""A client of a chain with CometBFT: payments with a memo by its own command line, blocks by HTTP."""

import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Accounts that pay, one for each client, since an account's payments have an order.
PAYERS = 8
# Seconds in which a client that was given up ends, and leaves its account.
PATIENCE = 20
# A block's place in the log has room for so many payments.
ROOM = 1000
MEMO = re.compile(rb"schism:([a-z0-9-]+):(\d+);")


class Refused(Exception):
    """Nothing was sent, or the node said that it does not take it."""


def payer():
    """An account that no other client has, as long as what is returned is open."""
    until = time.monotonic() + PATIENCE
    number = 0
    while time.monotonic() < until:
        number = (number + 1) % PAYERS
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0schism-cometbft-{number}")
            return f"c{number}", held
        except OSError:
            held.close()
        time.sleep(0.05)
    raise SystemExit(f"there are {PAYERS} accounts: run it with --concurrency {PAYERS} or less")


class Chain:
    def __init__(self, address, port, account):
        self.account, self.node = account, f"tcp://{address}:{port}"
        self.connection = http.client.HTTPConnection(address, port, timeout=10)
        try:
            self.connection.connect()
        except OSError as e:
            raise Refused(f"connecting: {e}") from e

    def close(self):
        self.connection.close()

    def ask(self, path):
        """What is answered; none if there is an error in it, such as what is not there."""
        self.connection.request("GET", "/" + path)
        return json.loads(self.connection.getresponse().read()).get("result")

    def send(self, log, value):
        """Where the payment stands that has it in its memo."""
        said = self.pay(f"schism:{log}:{value};")
        if said["code"] != 0:
            raise Refused(said["raw_log"])
        while True:
            found = self.ask(f"tx?hash=0x{said['txhash']}")
            if found:
                return int(found["height"]) * ROOM + found["index"]
            time.sleep(0.1)

    def pay(self, memo):
        home = os.path.join(HERE, "net", "clients")
        environment = {**os.environ, "HOME": home, "LD_LIBRARY_PATH": os.path.join(HERE, "bin")}
        argv = [
            os.path.join(HERE, "bin", "injectived"), "tx", "bank", "send", self.account, self.to(),
            "1inj", "--note", memo, "--gas", "200000", "--fees", "32000000000000inj", "--yes",
            "--broadcast-mode", "sync", "--node", self.node, "--chain-id", "schism-1",
            "--keyring-backend", "test", "--home", home, "--output", "json",
        ]
        ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30)
        try:
            return json.loads(ran.stdout)
        except ValueError:
            words = (ran.stderr or ran.stdout).strip().splitlines() or [f"it ended with {ran.returncode}"]
            raise ConnectionError(words[0]) from None

    def to(self):
        with open(os.path.join(HERE, "net", "payee"), encoding="utf-8") as file:
            return file.read().strip()

    def poll(self, log, first):
        found = []
        last = int(self.ask("status")["sync_info"]["latest_block_height"])
        for height in range(max(first // ROOM, 1), last + 1):
            block = self.ask(f"block?height={height}")
            if block is None:
                break
            for index, payment in enumerate(block["block"]["data"]["txs"]):
                memo = MEMO.search(base64.b64decode(payment))
                at = height * ROOM + index
                if memo and memo[1].decode() == log and at >= first:
                    found.append([at, int(memo[2])])
        return found


def main():
    chain = to = None
    account, _held = payer()
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            to = (asked["address"], asked["port"], account)
            answer = {"offers": ["send", "poll"]}
        else:
            try:
                chain = chain or Chain(*to)
                ask = chain.send if asked["f"] == "send" else chain.poll
                answer = {"value": ask(asked["key"], asked["value"])}
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, http.client.HTTPException, ValueError, TypeError, subprocess.TimeoutExpired) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            if answer.get("type") and chain:
                chain.close()
                chain = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
