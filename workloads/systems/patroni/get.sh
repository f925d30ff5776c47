# Gets a version of Patroni from PyPI. What it needs besides comes with the distribution's package.
set -e
cd "$(dirname "$0")"
pip3 install --quiet --no-deps --no-compile --root-user-action=ignore --target "versions/$1" "patroni==$1"
