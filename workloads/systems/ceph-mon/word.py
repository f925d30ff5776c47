"""What a monitor says of itself, on its socket for administrators: whether it serves, or its state."""

import json
import socket
import struct
import sys

with socket.socket(socket.AF_UNIX) as monitor:
    monitor.settimeout(2)
    monitor.connect("{data}/admin.sock")
    monitor.sendall(json.dumps(dict(prefix="mon_status", format="json")).encode() + b"\0")
    said = b"".join(iter(lambda: monitor.recv(65536), b""))
state = json.loads(said[4:4 + struct.unpack(">I", said[:4])[0]])["state"]
if sys.argv[1:] == ["state"]:
    print(state)
else:
    sys.exit(state not in ("leader", "peon"))
