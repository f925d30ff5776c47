"""A client of MariaDB, with PyMySQL: transactions that read rows and write them back."""

import json
import sys

import pymysql

OFFERS = ["read", "write", "txn", "transfer", "balances"]
ACCOUNTS, BALANCE = 5, 10
LEVELS = {
    "repeatable-read": "REPEATABLE READ",
    "serializable": "SERIALIZABLE",
    "read-committed": "READ COMMITTED",
}
TABLES = [
    "CREATE DATABASE IF NOT EXISTS schism",
    "CREATE TABLE IF NOT EXISTS schism.kv (k VARCHAR(64) PRIMARY KEY, v MEDIUMTEXT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS schism.account (name VARCHAR(64) PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB",
]
# Of a table, or of a database, that is not there.
LACKING = (1146, 1049)
# A deadlock; a lock that was waited for too long; a row that changed since the snapshot. The first
# and the last roll the whole transaction back, and the client does so after the second.
DEADLOCK = 1213
ROLLED_BACK = (DEADLOCK, 1205, 1020)


class Conflict(Exception):
    pass


class Database:
    def __init__(self, address, port, level):
        self.to, self.level, self.connection = (address, port), level, None

    def cursor(self):
        if self.connection is None:
            host, port = self.to
            self.connection = pymysql.connect(
                host=host, port=port, user="root", connect_timeout=2, read_timeout=10, autocommit=False)
            with self.connection.cursor() as cursor:
                make_tables(cursor)
                cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {LEVELS[self.level]}")
            self.connection.commit()
        return self.connection.cursor()

    def drop(self):
        if self.connection is not None:
            self.connection._force_close()
            self.connection = None


def make_tables(cursor):
    try:
        cursor.execute("SELECT count(*) FROM schism.account")
        if cursor.fetchone()[0] == ACCOUNTS:
            return
    except pymysql.Error as e:
        if e.args[0] not in LACKING:
            raise
    for table in TABLES:
        cursor.execute(table)
    rows = [(f"a{i}", BALANCE) for i in range(ACCOUNTS)]
    cursor.executemany("INSERT IGNORE INTO schism.account VALUES (%s, %s)", rows)


def get(cursor, key):
    cursor.execute("SELECT v FROM schism.kv WHERE k = %s", (str(key),))
    row = cursor.fetchone()
    return None if row is None else json.loads(row[0])


def put(cursor, key, value):
    cursor.execute(
        "INSERT INTO schism.kv VALUES (%s, %s) ON DUPLICATE KEY UPDATE v = VALUES(v)",
        (str(key), json.dumps(value)))


def txn(cursor, micros):
    done = []
    for f, key, value in micros:
        if f == "r":
            value = get(cursor, key)
        elif f == "w":
            put(cursor, key, value)
        else:
            put(cursor, key, (get(cursor, key) or []) + [value])
        done.append([f, key, value])
    return done


def transfer(cursor, source, value):
    to, amount = value
    # In the order of names, so that two transfers do not wait for each other.
    rows = {}
    for name in sorted([source, to]):
        cursor.execute("SELECT balance FROM schism.account WHERE name = %s FOR UPDATE", (name,))
        rows[name] = cursor.fetchone()[0]
    if rows[source] < amount:
        raise Conflict
    cursor.execute("UPDATE schism.account SET balance = balance - %s WHERE name = %s", (amount, source))
    cursor.execute("UPDATE schism.account SET balance = balance + %s WHERE name = %s", (amount, to))


def perform(cursor, f, key, value):
    if f == "read":
        return get(cursor, key)
    if f == "write":
        return put(cursor, key, value)
    if f == "txn":
        return txn(cursor, value)
    if f == "transfer":
        return transfer(cursor, key, value)
    cursor.execute("SELECT name, balance FROM schism.account")
    return dict(cursor.fetchall())


def answer(database, asked):
    try:
        cursor = database.cursor()
    except (pymysql.Error, OSError) as e:
        database.drop()
        return {"type": "fail", "error": f"refused: {e}"}
    try:
        value = perform(cursor, asked["f"], asked["key"], asked["value"])
    except (Conflict, pymysql.Error, OSError) as e:
        # Without a commit nothing happens: an open transaction ends with its connection.
        database.drop()
        code = e.args[0] if e.args else None
        refused = isinstance(e, Conflict) or code in ROLLED_BACK
        return {"type": "fail", "error": ("conflict: " if refused else "unavailable: ") + str(e)}
    try:
        database.connection.commit()
    except (pymysql.Error, OSError) as e:
        database.drop()
        # What Galera's nodes do not agree upon is said to be a deadlock, and rolled back.
        if e.args and e.args[0] == DEADLOCK:
            return {"type": "fail", "error": f"conflict: {e}"}
        return {"type": "info", "error": str(e)}
    return {"type": "ok", "value": value}


def main():
    database = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["f"] == "init":
            database = Database(asked["address"], asked["port"], asked["params"]["level"])
            said = {"type": "ok", "offers": OFFERS}
        elif asked["f"] not in OFFERS:
            said = {"type": "fail", "code": 10, "error": f"there is no {asked['f']}"}
        else:
            said = answer(database, asked)
        said["id"] = asked["id"]
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
