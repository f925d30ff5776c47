# Gets a node with CometBFT from a package of Python's that brings the program, and makes a chain of
# four validators: `bin` has the program, `net/n1` to `net/n4` their homes, `net/payers` the addresses
# and keys of those who pay.
set -e
cd "$(dirname "$0")"
version=1.20.1
if ! [ -x bin/injectived ]; then
    mkdir -p bin part
    pip3 download --quiet --no-deps --dest part injective-core==$version
    python3 -m zipfile --extract part/injective_core-$version-*.whl part
    tar --zstd -xf part/injective_core/bin/injectived.tar.zst -C bin
    mv bin/injectived-* bin/injectived
    chmod 755 bin/injectived
    rm -r part
fi
[ -e net/payers ] && exit
rm -rf net
made=$(mktemp -d -p .)
trap 'rm -rf "$made"' EXIT
chain() {
    LD_LIBRARY_PATH=$PWD/bin HOME=$made bin/injectived "$@" 2>"$made/said" || { cat "$made/said"; exit 1; }
}
key() { chain keys add "$1" --keyring-backend test --home "$made/$2" --output json >/dev/null; }
address() { chain keys show "$1" -a --keyring-backend test --home "$made/$2"; }
first=$made/n1
for n in n1 n2 n3 n4; do
    chain init $n --chain-id schism-1 --home "$made/$n" >/dev/null
    key validator $n
done
for client in $(seq 24); do
    key c$client clients
    payer=$(address c$client clients)
    chain add-genesis-account --chain-id schism-1 "$payer" 1000000000000000000000inj --home "$first"
    secret=$(chain keys unsafe-export-eth-key c$client --keyring-backend test --home "$made/clients")
    echo "$payer $secret" >>"$made/payers"
done
rm -r "$made/clients"
for n in n1 n2 n3 n4; do
    chain add-genesis-account --chain-id schism-1 "$(address validator $n)" 1000000000000000000000inj --home "$first"
done
sed -i 's/"stake"/"inj"/g' "$first/config/genesis.json"
mkdir -p "$first/config/gentx"
for n in n1 n2 n3 n4; do
    [ $n = n1 ] || cp "$first/config/genesis.json" "$made/$n/config/genesis.json"
    chain genesis gentx validator 100000000000000000000inj --chain-id schism-1 --keyring-backend test \
        --home "$made/$n" --output-document "$first/config/gentx/$n.json" >/dev/null
done
chain genesis collect-gentxs --home "$first" >/dev/null
for n in n2 n3 n4; do
    cp "$first/config/genesis.json" "$made/$n/config/genesis.json"
done
for n in n1 n2 n3 n4; do
    chain comet show-node-id --home "$made/$n" >"$made/$n/id"
done
rm "$made/said"
chmod 755 "$made"
mv "$made" net
