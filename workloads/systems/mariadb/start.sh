# Starts the server, with Galera if it is wanted. Usage: start.sh MARIADBD ARGUMENT...
set -e
if [ {param.galera} = on ]; then
    [ {param.sync-wait} = on ] && wait=1 || wait=0
    set -- "$@" --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so \
        --wsrep-cluster-name=schism --wsrep-cluster-address=gcomm://{list.cluster} \
        --wsrep-node-name={name} --wsrep-node-address={address} --wsrep-sst-method=rsync \
        --wsrep-sync-wait=$wait --binlog-format=ROW --innodb-autoinc-lock-mode=2
    # The first node makes the cluster, once.
    if [ {index} = 1 ] && ! [ -e {data}/made ]; then
        touch {data}/made
        set -- "$@" --wsrep-new-cluster
    fi
fi
exec "$@"
