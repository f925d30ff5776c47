# Starts a node, and again when it ends if somebody is to. Usage: start.sh ANTIETCD-APP.JS
[ {param.reads} = stale ] && stale=1 || stale=0
node() {
    command node "$1" --node_id {name} --cluster_key schism --cluster "{list.cluster}" \
        --ip {address} --port {port} --data {data}/data.gz --stale_read $stale --logs cluster
}
if [ {param.restart} = never ]; then
    node "$1"
    exit
fi
while true; do
    node "$1"
    sleep 1
done
