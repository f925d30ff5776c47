# Starts a validator with the home that was made for it. Usage: start.sh BIN NET
set -e
bin=$1 net=$2 home={data}/home
if ! [ -e $home ]; then
    cp -r "$net/{name}" $home.part
    chmod -R u+w $home.part
    mv $home.part $home
fi
peers=
for one in {list.addresses}; do
    [ "${one%%=*}" = {name} ] || peers=$peers,$(cat "$net/${one%%=*}/id")@${one#*=}:26656
done
sed -i -e "s#^persistent_peers = .*#persistent_peers = \"${peers#,}\"#" \
    -e 's#^laddr = "tcp://127.0.0.1:26657"#laddr = "tcp://{address}:{port}"#' \
    -e 's#^addr_book_strict = .*#addr_book_strict = false#' \
    -e 's#^pprof_laddr = .*#pprof_laddr = ""#' $home/config/config.toml
sed -i -e 's#^enable = true#enable = false#' $home/config/app.toml
if [ {param.pbts} = on ]; then
    sed -i 's#"pbts_enable_height": *"0"#"pbts_enable_height": "1"#' $home/config/genesis.json
fi
export LD_LIBRARY_PATH=$bin HOME={data}
# Injective has values of its own, whatever stands in config.toml.
exec $bin/injectived start --home $home --log-level info \
    --unsafe-consensus-timeout-propose {param.timeout-propose} \
    --unsafe-consensus-timeout-commit {param.timeout-commit}
