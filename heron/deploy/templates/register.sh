#!/bin/sh
# Register the public keys in nodes/ with the running SuperLink, which admits no other SuperNode. May be run again.
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1

for key in "$HERE"/nodes/*.pub; do
  name=$(basename "$key" .pub)
  attempt=1
  until answer=$("$HERE/flwr.sh" supernode register "$key" --name "$name" 2>&1); do
    case $answer in
      *"already in use"*) answer="registered already"; break ;;
    esac
    if [ "$attempt" -ge 10 ]; then
      echo "register.sh: $name was not registered: $answer" >&2
      exit 1
    fi
    attempt=$((attempt + 1))
    sleep 3  # the SuperLink may be starting
  done
  echo "$name: $answer"
done
