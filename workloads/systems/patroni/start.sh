# Starts etcd on the first three nodes, and Patroni on the others. Usage: start.sh ETCD PATRONI
set -e
if [ {index} -le 3 ]; then
    peers=$(echo "{list.cluster}" | cut -d, -f1-3)
    exec "$1" --name {name} --data-dir {data}/etcd --logger zap --log-outputs stderr \
        --listen-client-urls http://{address}:2379 --advertise-client-urls http://{address}:2379 \
        --listen-peer-urls http://{address}:2380 --initial-advertise-peer-urls http://{address}:2380 \
        --initial-cluster "$peers" --initial-cluster-state new
fi
# The fourth node begins as the primary.
if [ {index} -gt 4 ] && ! [ -e {data}/db ]; then
    until /usr/bin/python3 {data}/word.py followed; do sleep 0.5; done
fi
hosts=$(echo "{list.cluster}" | cut -d, -f1-3 | sed 's#[^,=]*=http://##g; s#:2380#:2379#g')
sed -i "s#ETCD_HOSTS#$hosts#" {data}/patroni.yml
exec sh {data}/patroni.sh "$2" {data}/patroni.yml
