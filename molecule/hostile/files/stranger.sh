#!/bin/sh
# What a machine of the fleet's network that is no node reaches: stranger.sh ROUTER ADDRESS:PORT..., one line "open" or "closed" for each.
# Routes to pods and services lead over ROUTER.
set -eu
router=$1
shift
ip route add 10.96.0.0/12 via "$router"
ip route add 10.244.0.0/16 via "$router"
exec python3 - "$@" <<'EOF'
import socket, sys
from concurrent.futures import ThreadPoolExecutor


def ask(target):
    host, _colon, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError:
        return f"closed {target}"
    return f"open {target}"


with ThreadPoolExecutor(64) as threads:
    print("\n".join(threads.map(ask, sys.argv[1:])))
EOF
