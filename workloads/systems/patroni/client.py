"""A client of PostgreSQL under Patroni: asks Patroni who is the primary, and then that primary."""

import json
import sys
import urllib.error
import urllib.request

import psycopg2

TABLE = "CREATE TABLE IF NOT EXISTS kv (k text PRIMARY KEY, v jsonb NOT NULL)"
# It could not be serialized, or was chosen to end a deadlock; the node is no primary.
DEFINITE = ("40001", "40P01", "25006")


class Refused(Exception):
    pass


def is_primary(address):
    try:
        with urllib.request.urlopen(f"http://{address}:8008/primary", timeout=0.5) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def connect(nodes, port):
    for address in nodes:
        if is_primary(address):
            break
    else:
        raise Refused("there is no primary")
    try:
        connection = psycopg2.connect(
            host=address, port=port, user="postgres", dbname="postgres", connect_timeout=2)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('kv')")
            if cursor.fetchone()[0] is None:
                cursor.execute("SELECT pg_advisory_lock(1)")
                cursor.execute(TABLE)
                cursor.execute("SELECT pg_advisory_unlock(1)")
        return connection
    except psycopg2.Error as e:
        raise Refused(str(e)) from e


def perform(cursor, f, key, value):
    if f == "read":
        cursor.execute("SELECT v FROM kv WHERE k = %s", (key,))
        row = cursor.fetchone()
        return {"value": None if row is None else row[0]}
    if f == "scan":
        cursor.execute("SELECT k, v FROM kv WHERE starts_with(k, %s)", (key,))
        return {"value": dict(cursor.fetchall())}
    if f == "write":
        cursor.execute(
            "INSERT INTO kv VALUES (%s, %s::jsonb) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
            (key, json.dumps(value)))
        return {}
    if f == "append":
        cursor.execute(
            "INSERT INTO kv VALUES (%s, %s::jsonb) ON CONFLICT (k) DO UPDATE SET v = kv.v || excluded.v",
            (key, json.dumps([value])))
        return {}
    return {"type": "fail", "code": 10, "error": f"there is no {f}"}


def main():
    nodes = connection = port = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            port = asked["port"]
            by_index = sorted(asked["nodes"], key=lambda name: (len(name), name))
            nodes = [asked["nodes"][name] for name in by_index[3:]]
            answer = {"offers": ["read", "write", "scan", "append"]}
            if not nodes:
                answer = {"type": "fail", "error": "three nodes are etcd's: it takes --nodes 5"}
        else:
            try:
                connection = connection or connect(nodes, port)
                answer = perform(connection.cursor(), asked["f"], asked["key"], asked["value"])
            except Refused as e:
                answer = {"type": "fail", "error": f"refused: {e}"}
            except psycopg2.Error as e:
                kind = "fail" if e.pgcode in DEFINITE else "info"
                answer = {"type": kind, "error": f"{'unavailable: ' if kind == 'fail' else ''}{e}"}
            if answer.get("type") and connection:
                connection.close()
                connection = None
        answer.setdefault("type", "ok")
        answer["id"] = asked["id"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
