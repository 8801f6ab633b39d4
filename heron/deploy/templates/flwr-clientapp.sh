#!/bin/sh
# The SuperNode runs this for every message: Flower's client app in 32 MiB less, see flwr-clientapp.py. It runs in the
# Python of Flower's own command, which is next to flower-supernode; that command itself runs where this is not known.
supernode=$(command -v flower-supernode) || { echo "flwr-clientapp: no flower-supernode; set HERON_BIN in client.env" >&2; exit 127; }
own="$(dirname -- "$supernode")/flwr-clientapp"
python=$(sed -n '1s/^#! *\(\/.*python[0-9.]*\)$/\1/p' "$own")
[ -x "$python" ] || exec "$own" "$@"
exec "$python" "$(dirname -- "$0")/flwr-clientapp.py" "$@"
