#!/bin/sh
# Run the SuperLink, and restart it when it ends. Stop it with Ctrl-C, or with SIGTERM to this script.
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
set -a
. "$HERE/server.env"
set +a
cd "$HERE" || exit 1  # runs/ is created here
command -v flower-superlink >/dev/null || { echo "server.sh: no flower-superlink; set HERON_BIN in server.env" >&2; exit 127; }

child=
stop() {
  trap '' INT TERM
  if [ -n "$child" ]; then
    kill -TERM "$child" 2>/dev/null
    wait "$child"
  fi
  exit 0
}
trap stop INT TERM

while :; do
  flower-superlink --host "$HERON_LISTEN" --port "$HERON_PORT" --database "$HERE/state.db" \
    --ssl-ca-certfile "$HERE/ca.crt" --ssl-certfile "$HERE/server.crt" --ssl-keyfile "$HERE/server.key" \
    --enable-supernode-auth --disable-runtime-dependency-installation &
  child=$!
  wait "$child"
  code=$?
  [ "$code" -ne 2 ] || exit 2  # it does not understand its command line: an HERON_ setting is wrong
  echo "server.sh: $(date -u +%Y-%m-%dT%H:%M:%SZ) the SuperLink ended with exit code $code; again in 5 s" >&2
  sleep 5 &
  child=$!
  wait "$child"
done
