# Whether a node serves: with Galera, one that belongs to a majority and has applied what it missed.
set -e
ask() { mariadb --no-defaults -h {address} -P {port} -u root --connect-timeout=2 -Nse "$1"; }
if [ {param.galera} = on ]; then
    ask "show status like 'wsrep_ready'" | grep -q ON
else
    ask "select 1"
fi
