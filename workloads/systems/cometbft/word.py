"""Whether a node serves: it has peers, and a block. Usage: word.py ADDRESS PORT"""

import json
import sys
import urllib.request


def ask(path):
    with urllib.request.urlopen(f"http://{sys.argv[1]}:{sys.argv[2]}/{path}", timeout=3) as answer:
        return json.load(answer)["result"]


height = int(ask("status")["sync_info"]["latest_block_height"])
sys.exit(0 if height > 0 and int(ask("net_info")["n_peers"]) > 0 else 1)
