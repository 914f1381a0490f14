#!/usr/bin/env bash
# Runs a `bootstrap` once under AWS's own Runtime Interface Emulator and prints its answer. The function's environment is this
# script's. Exit status: 0 for any answer of the function, an error of it included, for the emulator answers both with 200; 1 if none came.
#
#     tests/rie.sh path/to/bootstrap payload.json [TIMEOUT_SECONDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# = 2 ] || [ $# = 3 ] || { echo "usage: tests/rie.sh BOOTSTRAP PAYLOAD.json [TIMEOUT_SECONDS]" >&2; exit 2; }
bootstrap=$(realpath "$1") payload=$(realpath "$2") timeout=${3:-60}
. "$root/tests/interop/install.sh"
install_rie
case $(uname -m) in
    x86_64) rie=$cache/rie/aws-lambda-rie-x86_64 ;;
    aarch64) rie=$cache/rie/aws-lambda-rie-arm64 ;;
    *) say "no emulator for $(uname -m)"; exit 1 ;;
esac

exec python3 "$root/tests/interop/rie.py" "$rie" "$bootstrap" "$payload" "$timeout"
