# Builds dqlite's demo, a key-value server, and its shell from the sources that the distribution
# has of them.
set -e
cd "$(dirname "$0")"
export GO111MODULE=off GOPATH=/usr/share/gocode CGO_LDFLAGS_ALLOW=-Wl,-z,now
for program in dqlite-demo dqlite; do
    go build -tags libsqlite3 -o $program github.com/canonical/go-dqlite/cmd/$program
done
