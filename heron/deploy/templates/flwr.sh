#!/bin/sh
# Any command of `flwr`, for this deployment: ./flwr.sh list, ./flwr.sh supernode list, ./flwr.sh stop RUN_ID
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
set -a
. "$HERE/server.env"
set +a
command -v flwr >/dev/null || { echo "flwr.sh: no flwr; set HERON_BIN in server.env" >&2; exit 127; }
# Flower wants an absolute path; this folder may have moved.
mkdir -p "$FLWR_HOME" && printf '[superlink]\ndefault = "heron"\n\n[superlink.heron]\naddress = "%s"\nroot-certificates = "%s"\n' \
  "$HERON_CONTROL" "$HERE/ca.crt" >"$FLWR_HOME/config.toml" || exit 1
exec flwr "$@"
