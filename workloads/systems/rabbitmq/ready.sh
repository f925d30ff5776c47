# Whether the node knows all others, and they it.
export HOME={data}
call() { /usr/lib/erlang/bin/erl_call -sname rabbit@{name} -c schism -a "$1" 2>/dev/null; }
running=$(call 'rabbit_nodes all_running []') || exit 1
members=$(grep -c '^cluster_formation.classic_config.nodes' {data}/rabbitmq.conf)
[ "$(echo "$running" | grep -o rabbit@ | wc -l)" = "$members" ]
