"""Whether a node serves: it has another for a peer. Usage: word.py ADDRESS PORT"""

import json
import sys
import urllib.request

asked = json.dumps({"jsonrpc": "2.0", "id": "0", "method": "get_info"}).encode()
where = urllib.request.Request(f"http://{sys.argv[1]}:{sys.argv[2]}/json_rpc", asked)
with urllib.request.urlopen(where, timeout=3) as answer:
    info = json.load(answer)["result"]
sys.exit(0 if info["incoming_connections_count"] + info["outgoing_connections_count"] > 0 else 1)
