# Whether a node serves: it is the master or follows it, and its Sentinel could make another master.
# Usage: ready.sh REDIS-CLI ADDRESS PORT
redis() { "$cli" -h "$address" -p "$port" "$@"; }
sentinel() { "$cli" -h "$address" -p 26379 sentinel "$@"; }
cli=$1 address=$2 port=$3
redis info replication | grep -qE 'role:master|master_link_status:up' || exit 1
sentinel ckquorum main | grep -q ^OK || exit 1
sentinel replicas main | grep -q .
