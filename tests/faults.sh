#!/usr/bin/env bash
# xpsync and the function over borders that cut, stall and corrupt, and killed at random moments, with LocalStack core and Ceph's radosgw on
# both sides: whatever happened, the same command copies in the end, no upload is left open, and no part that arrived is sent again.
#
#     tests/faults.sh
#
# KILLS                 kills of each program at each target (default 5)
# ROUNDS                copies of each size over each border (default 1)
# SEED                  of every random choice (default 1)
# XPSYNC, BOOTSTRAP     the binaries under test (default: built here)
# XPSYNC_INTEROP_CACHE  where servers are installed (default: target/interop)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/interop/install.sh"
install_s3
install_localstack
install_ceph
target=${CARGO_TARGET_DIR:-$root/target}
if [ -z "${XPSYNC:-}" ]; then
    (cd "$root" && cargo build --release --locked --bin xpsync)
fi
if [ -z "${BOOTSTRAP:-}" ]; then
    (cd "$root" && cargo build --release --locked --no-default-features --features lambda --bin bootstrap)
fi
exec "$cache/s3/bin/python" "$root/tests/interop/faults.py" "$(realpath "${XPSYNC:-$target/release/xpsync}")" \
    "$(realpath "${BOOTSTRAP:-$target/release/bootstrap}")"
