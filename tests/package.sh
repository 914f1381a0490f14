#!/usr/bin/env bash
# Builds the function's zip as the README says, and holds it to its limits: its size, the GLIBC of provided.al2023, and that it starts.
#
#     tests/package.sh [x86_64|aarch64]
#
# The zip is target/lambda/bootstrap/bootstrap.zip. cargo-lambda (PyPI brings it, with zig) is installed below target/ if it is not on PATH.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
machine=${1:-x86_64}
most_bytes=2500000
most_glibc=2.34
target=${CARGO_TARGET_DIR:-$root/target}
if ! command -v cargo-lambda >/dev/null; then
    venv=$root/target/tools/cargo-lambda
    [ -x "$venv/bin/cargo-lambda" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'cargo-lambda==1.9.*'; }
    export PATH=$venv/bin:$PATH
fi
cargo lambda build --profile lambda --no-default-features --features lambda --bin bootstrap --locked \
    --output-format zip --target "$machine-unknown-linux-gnu.$most_glibc"

zip=$target/lambda/bootstrap/bootstrap.zip
binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("bootstrap"))' "$zip" >"$binary"
chmod +x "$binary"

bytes=$(stat -c %s "$zip")
echo "zip: $bytes bytes, of at most $most_bytes; bootstrap in it: $(stat -c %s "$binary") bytes"
[ "$bytes" -le "$most_bytes" ] || { echo "the zip is too large" >&2; exit 1; }

newest=$(objdump -T "$binary" | sed -n 's/.*GLIBC_\([0-9][0-9.]*\).*/\1/p' | sort -uV | tail -n 1)
echo "newest GLIBC symbol: $newest, of at most $most_glibc"
[ -n "$newest" ] && [ "$(printf '%s\n' "$newest" "$most_glibc" | sort -V | tail -n 1)" = "$most_glibc" ] ||
    { echo "provided.al2023 has GLIBC $most_glibc" >&2; exit 1; }

if [ "$machine" = "$(uname -m)" ]; then
    python3 "$root/tests/start.py" "$binary"
    # Without an environment it has to say what it wants, and fail.
    if told=$(env -i "$binary"); then
        echo "started without an environment: $told" >&2
        exit 1
    fi
    case $told in *"SOURCE_REGION is not set"*) echo "without an environment: $told" ;; *) echo "said nothing of use: $told" >&2 && exit 1 ;; esac
fi
