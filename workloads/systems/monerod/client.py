"""A client of monerod: blocks with a value in each, and the chain read from a height on."""

import http.client
import json
import sys

# Any address: what it is paid is of no interest.
PAID = (
    "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A"
)
# Bytes in a block: the log's name, then the value.
NAME, SIZE = 16, 24
NONCE = 2
# Values that are told at once.
MOST = 50


class Refused(Exception):
    """Nothing was sent that changes anything, or the node said that it took nothing."""


class Node:
    def __init__(self, address, port):
        self.connection = http.client.HTTPConnection(address, port, timeout=10)
        try:
            self.connection.connect()
        except OSError as e:
            raise Refused(f"connecting: {e}") from e

    def close(self):
        self.connection.close()

    def ask(self, method, params):
        asked = {"jsonrpc": "2.0", "id": "0", "method": method, "params": params}
        self.connection.request("POST", "/json_rpc", json.dumps(asked), {"Content-Type": "application/json"})
        said = json.loads(self.connection.getresponse().read())
        if "error" in said:
            raise Refused(f"{method}: {said['error'].get('message')}")
        return said["result"]

    def template(self):
        try:
            return self.ask("get_block_template", {"wallet_address": PAID, "reserve_size": SIZE})
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise Refused(f"reading before writing: {type(e).__name__}: {e}") from e

    def send(self, log, value):
        """The height of the block that holds it."""
        made = self.template()
        block, at = bytearray.fromhex(made["blocktemplate_blob"]), made["reserved_offset"]
        block[at:at + SIZE] = log.encode().ljust(NAME, b"\0") + value.to_bytes(SIZE - NAME, "big")
        self.ask("submit_block", [block.hex()])
        # Another block may have come first; this one is on no chain then, or not yet.
        if self.held(made["height"]) != (log, value):
            raise ConnectionError("another block is at its height")
        return made["height"]

    def held(self, height):
        """The log and the value that the block at this height holds."""
        block = json.loads(self.ask("get_block", {"height": height})["json"])
        extra = bytes(block["miner_tx"]["extra"])
        # The transaction's public key, with its tag, stands before the nonce.
        if extra[33:35] != bytes([NONCE, SIZE]):
            return None, None
        log, value = extra[35:35 + NAME], extra[35 + NAME:35 + SIZE]
        return log.rstrip(b"\0").decode(), int.from_bytes(value, "big")

    def poll(self, log, first):
        found = []
        # The first block is the same everywhere, and holds nothing.
        for height in range(max(first, 1), self.ask("get_info", {})["height"]):
            of, value = self.held(height)
            if of == log:
                found.append([height, value])
            if len(found) == MOST:
                break
        return found


def main():
    open_to, own, miner = {}, None, None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            own = asked["address"]
            miner = asked["nodes"]["n1"] if asked["params"]["miners"] == "first" else own
            port, answer = asked["port"], {"offers": ["send", "poll"]}
        else:
            at = miner if asked["f"] == "send" else own
            try:
                node = open_to.get(at) or Node(at, port)
                open_to[at] = node
                ask = node.send if asked["f"] == "send" else node.poll
                answer = {"value": ask(asked["key"], asked["value"])}
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except (OSError, http.client.HTTPException, ValueError) as e:
                answer = {"type": "info", "error": f"{type(e).__name__}: {e}"}
            if answer.get("type") and at in open_to:
                open_to.pop(at).close()
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
