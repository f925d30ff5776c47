"""What a server says of itself: whether it serves, or what its role is."""

import socket
import sys

address, port, asked = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.create_connection((address, port), timeout=1) as server:
    server.settimeout(1)
    server.sendall(b"srvr")
    said = b"".join(iter(lambda: server.recv(4096), b"")).decode()
# One that is in no quorum says "This ZooKeeper instance is not currently serving requests".
mode = [line.split()[1] for line in said.splitlines() if line.startswith("Mode:")]
if asked == "role":
    print(*mode)
else:
    sys.exit(mode not in (["leader"], ["follower"], ["standalone"]))
