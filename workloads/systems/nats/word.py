"""What a server says of itself: whether it serves, or who leads the bucket's stream."""

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
groups = [stream["cluster"] for stream in streams if stream["name"] == "KV_schism"]
# Until the stream is there, who leads the servers.
print(*[group.get("leader", "") for group in groups or [said["meta_cluster"]]])
