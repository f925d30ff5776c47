# How far a node of Galera has applied what was committed, and sums over its tables, as JSON.
# Usage: holds.sh ADDRESS PORT
set -e
address=$1 port=$2
ask() { mariadb --no-defaults -h "$address" -P "$port" -u root --connect-timeout=2 -Nse "$1"; }
committed=$(ask "show status like 'wsrep_last_committed'" | cut -f 2)
sums=$(ask "checksum table schism.kv, schism.account" | tr '\t\n' '  ')
# A server alone counts nothing.
printf '{"committed": %s, "sums": "%s"}\n' "${committed:-0}" "$sums"
