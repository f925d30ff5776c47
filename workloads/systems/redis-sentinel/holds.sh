# How far a server has applied what it replicates, and the digest of all that it holds, as JSON.
# Usage: holds.sh REDIS-CLI ADDRESS PORT
set -e
redis() { "$cli" -h "$address" -p "$port" "$@"; }
cli=$1 address=$2 port=$3
offset=$(redis info replication | tr -d '\r' | sed -n 's/^master_repl_offset://p')
printf '{"offset": %s, "digest": "%s"}\n' "$offset" "$(redis debug digest)"
