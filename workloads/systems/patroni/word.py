"""What the programs of a node say of it: whether it serves, its role, or whether the fourth leads."""

import json
import sys
import urllib.error
import urllib.request


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        # Patroni answers so where the node is not what was asked for, and says what it is.
        return json.load(e)


asked, index = sys.argv[1], int("{index}")
if index <= 3:
    if asked == "ready":
        sys.exit(get("http://{address}:2379/health").get("health") != "true")
    sys.exit()
if asked == "followed":
    nodes = "{peers}".split(",")
    said = get("http://" + nodes[3].rsplit(":", 1)[0] + ":8008/patroni")
    # "master" until 4.0.
    sys.exit(said["state"] != "running" or said["role"] not in ("master", "primary"))
said = get("http://{address}:8008/cluster")
own = [member for member in said["members"] if member["name"] == "{name}"]
role, state = own[0]["role"], own[0]["state"]
if asked == "role":
    print("primary" if role == "leader" else role)
else:
    has_leader = any(member["role"] == "leader" for member in said["members"])
    sys.exit(state not in ("running", "streaming") or not has_leader)
