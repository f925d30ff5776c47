"""What a node says. Usage: word.py ADDRESS PORT ready|leader"""

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
else:
    print(ask("maintenance/status", {}).get("leader", ""))
