#!/usr/bin/env bash
# Deploys template.yaml with a function's zip in an emulator of CloudFormation, S3, EventBridge, SQS, Secrets Manager and Lambda
# (LocalStack's core, with the function as a native process), and sends objects through it.
#
#     tests/deploy.sh bootstrap.zip
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# = 1 ] || { echo "usage: tests/deploy.sh bootstrap.zip" >&2; exit 2; }
zip=$(realpath "$1")
. "$root/tests/interop/install.sh"
install_s3
install_localstack
exec "$cache/s3/bin/python" "$root/tests/interop/deploy.py" "$root/template.yaml" "$zip"
