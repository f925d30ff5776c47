"""A client of a chain with CometBFT: payments with a memo, and blocks, over its HTTP."""

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import sys
import time

from payment import Payer, field, fields

NET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "net")
# Seconds in which a client that was given up ends, and leaves its account.
PATIENCE = 20
# A block's place in the log has room for so many payments.
ROOM = 1000
MEMO = re.compile(rb"schism:([a-z0-9-]+):(\d+);")


class Refused(Exception):
    """Nothing was sent, or the node said that it does not take it."""


def payer():
    """An account that no other client has, since an account's payments have an order."""
    with open(os.path.join(NET, "payers"), encoding="utf-8") as file:
        payers = [line.split() for line in file]
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for address, secret in payers:
            held = socket.socket(socket.AF_UNIX)
            try:
                held.bind(f"\0schism-cometbft-{address}")
                return Payer(address, secret, held)
            except OSError:
                held.close()
        time.sleep(0.05)
    many = len(payers)
    raise SystemExit(f"there are {many} accounts: run it with --concurrency {many} or less")


class Chain:
    def __init__(self, address, port):
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

    def send(self, payer, log, value):
        """Where the payment stands that has it in its memo."""
        account, sequence = self.account(payer.address)
        paid = payer.pays(f"schism:{log}:{value};", account, sequence)
        said = self.ask(f"broadcast_tx_sync?tx=0x{paid.hex()}")
        if said is None:
            raise ConnectionError("it was not taken, and nothing says that it will not be")
        if said["code"] != 0:
            raise Refused(said["log"])
        while True:
            found = self.ask(f"tx?hash=0x{said['hash']}")
            if found:
                return int(found["height"]) * ROOM + found["index"]
            time.sleep(0.1)

    def account(self, address):
        """An account's number, and how many payments the node knows to be in the chain."""
        try:
            asked = field(1, address).hex()
            found = self.ask(f'abci_query?path="/cosmos.auth.v1beta1.Query/Account"&data=0x{asked}')
            # The account of the answer, of its kind, and what every kind has.
            account = fields(fields(fields(base64.b64decode(found["response"]["value"]))[1])[2])
            account = fields(account[1])
            return account.get(3, 0), account.get(4, 0)
        except (OSError, http.client.HTTPException, LookupError, TypeError, ValueError) as e:
            raise Refused(f"reading before paying: {type(e).__name__}: {e}") from e

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
    to = who = None
    for line in sys.stdin:
        asked = json.loads(line)
        f = asked["f"]
        if f == "init":
            to = (asked["address"], asked["port"])
            answer = {"offers": ["send", "poll"]}
        else:
            try:
                # A node closes what was silent for some seconds.
                with contextlib.closing(Chain(*to)) as chain:
                    if f == "send":
                        who = who or payer()
                        answer = {"value": chain.send(who, asked["key"], asked["value"])}
                    else:
                        answer = {"value": chain.poll(asked["key"], asked["value"])}
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, http.client.HTTPException, ValueError, TypeError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
