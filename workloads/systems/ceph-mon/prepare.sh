# Makes a monitor's store. Usage: prepare.sh MONMAPTOOL CEPH-MON
set -e
"$1" --create --fsid 5c1f7e9e-0d6b-4b57-8b5e-2b1f3a7c9d10 --set-min-mon-release pacific {list.monitors} {data}/monmap
"$2" --mkfs -i {name} -c {data}/ceph.conf --monmap {data}/monmap --keyring {data}/keyring
