"""What a server says of itself: whether it serves, who leads the bucket's stream, or what it holds of it."""

import json
import sys
import urllib.request

address, asked = sys.argv[1:]


def get(path):
    # A server that is not healthy says so with status 503.
    with urllib.request.urlopen("http://" + address + ":8222" + path, timeout=2) as answer:
        return json.load(answer)


if asked == "ready":
    said = get("/healthz")
    sys.exit(said["status"] != "ok" or not get("/jsz").get("meta_cluster", {}).get("leader"))
said = get("/jsz?streams=true")
streams = [stream for account in said.get("account_details", []) for stream in account.get("stream_detail", [])]
streams = [stream for stream in streams if stream["name"] == "KV_schism"]
if asked == "replica":
    # Every change takes a number, so what is told here follows from the last one.
    state = streams[0]["state"]
    print(json.dumps({"last": state["last_seq"], "state": {key: state[key] for key in ("messages", "bytes", "first_seq")}}))
    sys.exit()
groups = [stream["cluster"] for stream in streams]
# Until the stream is there, who leads the servers.
print(*[group.get("leader", "") for group in groups or [said["meta_cluster"]]])
