#!/bin/sh
# Run this client's SuperNode, and restart it when it ends. Stop it with Ctrl-C, or with SIGTERM to this script.
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
set -a
. "$HERE/client.env"
set +a
PATH="$HERE/bin:$PATH"  # its flwr-clientapp comes before Flower's
cd "$HERE" || exit 1
command -v flower-supernode >/dev/null || { echo "client: no flower-supernode; set HERON_BIN in client.env" >&2; exit 127; }
case $HERON_HOST in
  *:*) superlink="[$HERON_HOST]:$HERON_PORT" ;;
  *) superlink="$HERON_HOST:$HERON_PORT" ;;
esac

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
  flower-supernode --root-certificates "$HERE/ca.crt" --superlink "$superlink" --port "$HERON_LOCAL_PORT" \
    --auth-supernode-private-key "$HERE/node.key" \
    --node-config "partition-id=$HERON_CLIENT $HERON_NODE_CONFIG" &
  child=$!
  wait "$child"
  code=$?
  [ "$code" -ne 2 ] || exit 2  # it does not understand its command line: an HERON_ setting is wrong
  # For about 60 s the SuperLink believes that a killed node is still there, and refuses its successor
  # (Flower's exit code 305, which a shell sees as 1).
  echo "client $HERON_CLIENT: $(date -u +%Y-%m-%dT%H:%M:%SZ) the SuperNode ended with exit code $code; again in 15 s" >&2
  sleep 15 &
  child=$!
  wait "$child"
done
