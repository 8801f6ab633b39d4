#!/bin/sh
# The SuperNode runs this for every message: Flower's client app in 32 MiB less, see client_process.py.
exec "${HERON_BIN:+$HERON_BIN/}python3" "$(dirname -- "$0")/flwr-clientapp.py" "$@"
