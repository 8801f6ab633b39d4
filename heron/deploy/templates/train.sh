#!/bin/sh
# Train with the connected clients and show progress; Ctrl-C ends the display, not the run.
#   ./train.sh [RECIPE] [KEY=VALUE ...]    a new run in runs/; keys as after `heron train --set`, such as rounds=3
#   ./train.sh --resume RUN                continue a run directory
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
. "$HERE/server.env"
case "$*" in
  *[\"\'\\]*) echo "train.sh: expected no quotes and no backslashes, found $*" >&2; exit 2 ;;
esac

case ${1-} in
  --resume)
    [ $# -eq 2 ] || { echo "train.sh: expected --resume RUN" >&2; exit 2; }
    run=$(CDPATH='' cd -- "$2" && pwd) || exit 2
    config="resume=\"$run\""
    ;;
  *)
    recipe=$HERON_RECIPE
    case ${1-} in
      '' | *=*) ;;
      *) recipe=$1; shift ;;
    esac
    for word in "$@"; do
      case $word in
        *=*) ;;
        *) echo "train.sh: expected KEY=VALUE, found $word" >&2; exit 2 ;;
      esac
    done
    config="recipe=\"$recipe\" set=\"clients.total=$HERON_CLIENTS $*\""
    ;;
esac
exec "$HERE/flwr.sh" run "$HERON_APP" heron --stream --run-config "$config $HERON_RUN_CONFIG"
