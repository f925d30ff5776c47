# Whether a node serves: a standby has replayed what its primary had written just now.
set -e
sql() { /usr/lib/postgresql/15/bin/psql -h "$1" -p {port} -U postgres -Atc "$2"; }
primary=$(sql {first} "select pg_current_wal_lsn()")
[ {index} = 1 ] || sql {address} "select pg_last_wal_replay_lsn() >= '$primary'" | grep -q t
