# Makes a monitor's store. Usage: prepare.sh MONMAPTOOL CEPH-MON
set -e
# Ceph reads seconds.
lease=$(python3 -c 'import re, sys
units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
parts = re.findall(r"([0-9.]+)([a-z]+)", sys.argv[1])
print(sum(float(n) * units[unit] for n, unit in parts))' {param.lease})
sed -i "s/LEASE/$lease/" {data}/ceph.conf
"$1" --create --fsid 5c1f7e9e-0d6b-4b57-8b5e-2b1f3a7c9d10 --set-min-mon-release pacific {list.monitors} {data}/monmap
"$2" --mkfs -i {name} -c {data}/ceph.conf --monmap {data}/monmap --keyring {data}/keyring
