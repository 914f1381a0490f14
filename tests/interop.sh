#!/usr/bin/env bash
# xpsync against S3 servers that this project did not write: rclone serve s3, LocalStack core, moto, radosgw, and its own embedded one, in a
# ring, each once source and once target. Installs what it needs, starts it on loopback, ends it, whatever happens.
#
#     tests/interop.sh
#
# XPSYNC                the binary under test (default: built here)
# XPSYNC_EMBEDDED       the embedded server, examples/embedded.rs (default: built here)
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
if [ -z "${XPSYNC_EMBEDDED:-}" ]; then
    (cd "$root" && cargo build --release --locked --example embedded)
fi
exec "$cache/s3/bin/python" "$root/tests/interop/ring.py" "$(realpath "${XPSYNC:-$target/release/xpsync}")" \
    "$(realpath "${XPSYNC_EMBEDDED:-$target/release/examples/embedded}")"
