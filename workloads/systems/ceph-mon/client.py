"""A client of Ceph's monitors, with librados: it keeps to its node's monitor as long as it can."""

import errno
import json
import os
import subprocess
import sys

import rados

PORT = 3300
ESTABLISHED = "01"


class Refused(Exception):
    pass


class Monitor:
    def __init__(self, address):
        self.address = address
        # By itself librados turns to another monitor as soon as this one is silent.
        patience = {"mon_client_hunt_interval": "1000", "mon_client_ping_interval": "1000",
                    "mon_client_ping_timeout": "1000"}
        conf = {"mon_host": f"[v2:{address}:{PORT}]", "auth_client_required": "none",
                "auth_supported": "none", "keyring": "/dev/null",
                "rados_mon_op_timeout": "2", "client_mount_timeout": "2", "log_file": "/dev/null",
                "log_to_stderr": "false", "err_to_stderr": "false", "admin_socket": ""}
        self.rados = rados.Rados(name="client.admin", conf={**patience, **conf}, conffile="")
        try:
            self.rados.connect(timeout=2)
        except rados.Error as e:
            self.close()
            raise Refused(f"connecting: {e}") from e

    def close(self):
        self.rados.shutdown()

    def ask(self, prefix, **more):
        status, said, why = self.rados.mon_command(json.dumps({"prefix": prefix, **more}), b"")
        return -status, said, why

    def has_moved(self):
        """Whether librados has turned to another monitor all the same."""
        own = set()
        for fd in os.listdir("/proc/self/fd"):
            try:
                own.add(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                pass
        theirs = set()
        with open("/proc/self/net/tcp", encoding="ascii") as table:
            for line in list(table)[1:]:
                words = line.split()
                address, port = words[2].split(":")
                if f"socket:[{words[9]}]" in own and int(port, 16) == PORT and words[3] == ESTABLISHED:
                    numbers = bytes.fromhex(address)[::-1]
                    theirs.add(".".join(map(str, numbers)))
        return theirs != {self.address}


def perform(monitor, f, key, value):
    key = f"schism/{key}"
    if f == "write":
        status, _, why = monitor.ask("config-key set", key=key, val=json.dumps(value))
        # Whatever it says, it may have been passed on to the leader.
        return {} if status == 0 else {"type": "info", "error": errno.errorcode.get(status, why)}
    if f == "read":
        status, said, why = monitor.ask("config-key get", key=key)
        if status == errno.ENOENT:
            return {"value": None}
        return {"value": json.loads(said)} if status == 0 else failed(status, why)
    if f == "scan":
        status, said, why = monitor.ask("config-key dump", key=key, format="json")
        if status:
            return failed(status, why)
        return {"value": {k.removeprefix("schism/"): json.loads(v) for k, v in json.loads(said).items()}}
    return {"type": "fail", "code": 10, "error": f"there is no {f}"}


def failed(status, why):
    return {"type": "fail", "error": f"unavailable: {errno.errorcode.get(status, status)}: {why}"}


def main():
    monitor = address = writer = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            address = asked["address"]
            if asked["params"].get("first-writes") == "at-second":
                writer = writer_of(asked)
            answer = {"offers": ["read", "write", "scan"]}
        elif asked["f"] == "write" and writer:
            answer = tell(writer, asked)
        else:
            try:
                monitor = monitor or Monitor(address)
                answer = perform(monitor, asked["f"], asked["key"], asked["value"])
                moved = monitor.has_moved()
                if moved and answer.get("type") is None and asked["f"] != "write":
                    answer = {"type": "fail", "error": "unavailable: another monitor answered"}
                # One that is only silent is waited for on the connection that there is: what it
                # says when it wakes is what matters, and a new connection would come later.
                silent = errno.errorcode[errno.ETIMEDOUT] in answer.get("error", "")
                if moved or answer.get("type") and not silent:
                    monitor.close()
                    monitor = None
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def writer_of(asked):
    """For a client of the first monitor, another one that is a client of the second."""
    nodes = list(asked["nodes"].values())
    if asked["address"] != nodes[0] or len(nodes) < 2:
        return None
    pipe = subprocess.PIPE
    writer = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)
    tell(writer, {**asked, "address": nodes[1]})
    return writer


def tell(program, asked):
    program.stdin.write(json.dumps(asked) + "\n")
    program.stdin.flush()
    return json.loads(program.stdout.readline())


if __name__ == "__main__":
    main()
