"""What a node says. Usage: word.py ADDRESS PORT ready|leader|replica"""

import hashlib
import json
import sys
import urllib.request


def ask(path, body):
    url = f"http://{sys.argv[1]}:{sys.argv[2]}/v3/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=3) as answer:
        return json.load(answer)


if sys.argv[3] == "ready":
    # No node answers this as long as none leads.
    ask("kv/range", {"key": "ready"})
elif sys.argv[3] == "replica":
    # All keys, as the node itself has them.
    said = ask("kv/range", {"key": "", "range_end": "", "serializable": True})
    pairs = sorted([kv["key"], kv["value"], kv["mod_revision"]] for kv in said["kvs"])
    digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
    print(json.dumps({"revision": said["header"]["revision"], "holds": {"keys": len(pairs), "sha256": digest}}))
else:
    print(ask("maintenance/status", {}).get("leader", ""))
