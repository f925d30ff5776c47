# Patroni, as a program or as a folder that pip has installed it into.
# Usage: patroni.sh PATRONI ARGUMENTS
program=$1
shift
[ -d "$program" ] || exec "$program" "$@"
PYTHONPATH=$program exec /usr/bin/python3 "$program/bin/patroni" "$@"
