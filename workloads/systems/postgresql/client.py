"""A client of PostgreSQL, with psycopg2: writes at the primary, reads at the node or there too."""

import json
import sys

import psycopg2

ACCOUNTS, BALANCE = 5, 10
LEVELS = {
    "repeatable-read": "REPEATABLE READ",
    "serializable": "SERIALIZABLE",
    "read-committed": "READ COMMITTED",
}
# Of two clients that make them at once, one may be told that they are there.
TABLES = [
    "CREATE TABLE IF NOT EXISTS kv (k text PRIMARY KEY, v jsonb NOT NULL)",
    "CREATE TABLE IF NOT EXISTS account (name text PRIMARY KEY, balance bigint NOT NULL)",
]
# It could not be serialized, or was chosen to end a deadlock. A transaction that was refused so is
# rolled back, whatever it had done.
ROLLED_BACK = ("40001", "40P01")


class Conflict(Exception):
    pass


class Database:
    """One server."""

    def __init__(self, address, port, level, makes_tables):
        self.to, self.level, self.makes_tables = (address, port), level, makes_tables
        self.connection = None

    def cursor(self):
        if self.connection is None:
            host, port = self.to
            connection = psycopg2.connect(
                host=host, port=port, user="postgres", dbname="postgres", connect_timeout=2)
            if self.makes_tables:
                make_tables(connection)
            connection.set_session(isolation_level=self.level, autocommit=True)
            self.connection = connection
        return self.connection.cursor()

    def roll_back(self):
        try:
            self.connection.cursor().execute("ROLLBACK")
        except psycopg2.Error:
            self.drop()

    def drop(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def make_tables(connection):
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)")
        for table in TABLES:
            cursor.execute(table)
        for i in range(ACCOUNTS):
            cursor.execute("INSERT INTO account VALUES (%s, %s) ON CONFLICT DO NOTHING", (f"a{i}", BALANCE))
        cursor.execute("SELECT pg_advisory_unlock(1)")


def get_all(cursor, keys):
    """By one statement, and so by one snapshot."""
    cursor.execute("SELECT k, v FROM kv WHERE k = ANY(%s)", (keys,))
    return dict(cursor.fetchall())


def put(cursor, f, key, value):
    if f == "w":
        cursor.execute(
            "INSERT INTO kv VALUES (%s, %s::jsonb) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
            (key, json.dumps(value)))
    else:
        cursor.execute(
            "INSERT INTO kv VALUES (%s, %s::jsonb) ON CONFLICT (k) DO UPDATE SET v = kv.v || excluded.v",
            (key, json.dumps([value])))


def txn(cursor, micros):
    if all(f == "r" for f, _, _ in micros):
        found = get_all(cursor, [str(key) for _, key, _ in micros])
        return [[f, key, found.get(str(key))] for f, key, _ in micros]
    done = []
    for f, key, value in micros:
        if f == "r":
            value = get_all(cursor, [str(key)]).get(str(key))
        else:
            put(cursor, f, str(key), value)
        done.append([f, key, value])
    return done


def transfer(cursor, source, value):
    to, amount = value
    # In the order of names, so that two transfers do not wait for each other.
    rows = {}
    for name in sorted([source, to]):
        cursor.execute("SELECT balance FROM account WHERE name = %s FOR UPDATE", (name,))
        rows[name] = cursor.fetchone()[0]
    if rows[source] < amount:
        raise Conflict
    cursor.execute("UPDATE account SET balance = balance - %s WHERE name = %s", (amount, source))
    cursor.execute("UPDATE account SET balance = balance + %s WHERE name = %s", (amount, to))


def perform(cursor, f, key, value):
    if f == "txn":
        return txn(cursor, value)
    if f == "transfer":
        return transfer(cursor, key, value)
    cursor.execute("SELECT name, balance FROM account")
    return dict(cursor.fetchall())


def only_reads(asked):
    if asked["f"] == "txn":
        return all(f == "r" for f, _, _ in asked["value"])
    return asked["f"] == "balances"


def is_one_statement(asked):
    return asked["f"] == "balances" or asked["f"] == "txn" and (len(asked["value"]) == 1 or only_reads(asked))


def answer(database, asked):
    try:
        cursor = database.cursor()
    except psycopg2.Error as e:
        database.drop()
        return {"type": "fail", "error": f"refused: {e}"}
    # What is one statement is committed by it; what is not ends with its COMMIT.
    commits = is_one_statement(asked)
    try:
        if not commits:
            cursor.execute("BEGIN")
        value = perform(cursor, asked["f"], asked["key"], asked["value"])
        if not commits:
            commits = True
            cursor.execute("COMMIT")
    except (Conflict, psycopg2.Error) as e:
        # An open transaction ends with its connection at the latest.
        database.roll_back()
        if isinstance(e, Conflict) or e.pgcode in ROLLED_BACK:
            return {"type": "fail", "error": f"conflict: {e}"}
        if only_reads(asked) or not commits:
            return {"type": "fail", "error": f"unavailable: {e}"}
        return {"type": "info", "error": str(e)}
    return {"type": "ok", "value": value}


def main():
    primary, near = None, None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            params, nodes = asked["params"], asked["nodes"]
            first = nodes[min(nodes, key=lambda name: (len(name), name))]
            level = LEVELS[params["level"]]
            primary = near = Database(first, asked["port"], level, True)
            if params["reads"] == "anywhere" and asked["address"] != first:
                near = Database(asked["address"], asked["port"], level, False)
            said = {"type": "ok", "offers": ["txn", "transfer", "balances"]}
        elif asked["f"] not in ("txn", "transfer", "balances"):
            said = {"type": "fail", "code": 10, "error": f"there is no {asked['f']}"}
        else:
            said = answer(near if only_reads(asked) else primary, asked)
        said["id"] = asked["id"]
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
