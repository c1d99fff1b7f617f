#!/bin/sh
# The same by commands: `commands.sh COMMAND…`.
set -eu
cd "$(dirname "$0")"
exec "${SKEP:-skep}" run --set first_pid=2 src/execmon.bpf.c -- "$@"
