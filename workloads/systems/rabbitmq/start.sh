# Starts a node: all that it keeps is in its own folder, and its name is the machine's.
umask 077
printf schism > {data}/.erlang.cookie
chmod 400 {data}/.erlang.cookie
echo '[].' > {data}/enabled_plugins
export HOME={data} RABBITMQ_NODENAME=rabbit@{name} RABBITMQ_MNESIA_BASE={data}/mnesia
export RABBITMQ_LOG_BASE={data} RABBITMQ_CONFIG_FILE={data}/rabbitmq.conf
export RABBITMQ_ENABLED_PLUGINS_FILE={data}/enabled_plugins RABBITMQ_PID_FILE={data}/pid
# One scheduler: the nodes share this machine.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none"
exec /usr/lib/rabbitmq/bin/rabbitmq-server
