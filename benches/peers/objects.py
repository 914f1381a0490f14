"""What boto3 does here, each in a process of its own: a copy as a script would make it, and a look at what a copy left.

boto3 cannot copy from one partition to another: it downloads to a file and uploads that, or uploads the body of a GET as it comes.
"""
import os, sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

THREADS = 64


def client(side, connections=10):
    # The two authorities have one name, by which OpenSSL would find the wrong one in a file of both.
    trusted = os.environ["AWS_CA_BUNDLE"].replace("ca.pem", side + ".pem")
    return boto3.Session(profile_name=side).client("s3", verify=trusted, config=Config(max_pool_connections=connections))


def copy(tool, key, to, scratch):
    if tool == "boto3":
        source, target, config = client("source"), client("target"), TransferConfig()
    else:
        source, target = client("source", THREADS), client("target", THREADS)
        config = TransferConfig(max_concurrency=THREADS, multipart_chunksize=5 << 20)
        # A stream is cut into parts in memory, ten at a time unless this is told as well.
        config.max_in_memory_upload_chunks = THREADS
    if tool == "boto3-stream-64":
        target.upload_fileobj(source.get_object(Bucket="source", Key=key)["Body"], "target", to, Config=config)
    else:
        path = os.path.join(scratch, "object")
        source.download_file("source", key, path, Config=config)
        target.upload_file(path, "target", to, Config=config)
        os.remove(path)


def copy_small(prefix, to):
    source, target = client("source", THREADS), client("target", THREADS)

    def one(key):
        got = source.get_object(Bucket="source", Key=key)
        target.put_object(Bucket="target", Key=f"{to}/{key.rpartition('/')[2]}", Body=got["Body"].read())

    pages = source.get_paginator("list_objects_v2").paginate(Bucket="source", Prefix=prefix + "/")
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, [o["Key"] for page in pages for o in page.get("Contents", [])]))


def make_bucket():
    """The target's bucket, and what a server does for the first time only: radosgw takes seconds for it."""
    target = client("target")
    target.create_bucket(Bucket="target")
    upload = target.create_multipart_upload(Bucket="target", Key="first")["UploadId"]
    target.upload_part(Bucket="target", Key="first", UploadId=upload, PartNumber=1, Body=b"first")
    target.abort_multipart_upload(Bucket="target", Key="first", UploadId=upload)


def check(to, objects, size):
    """Says what is wrong with a copy, and removes what would fill the server's memory."""
    target = client("target")
    pages = target.get_paginator("list_objects_v2").paginate(Bucket="target", Prefix=to)
    found = [o for page in pages for o in page.get("Contents", [])]
    try:
        open_uploads = len(target.list_multipart_uploads(Bucket="target").get("Uploads", []))
    except ClientError as error:
        # `rclone serve s3` has no list of them.
        if error.response["Error"]["Code"] != "NotImplemented":
            raise
        open_uploads = 0
    for large in [o["Key"] for o in found if o["Size"] > 1 << 20]:
        target.delete_object(Bucket="target", Key=large)
    if (len(found), {o["Size"] for o in found}) != (objects, {size}):
        print(f"{len(found)} objects of {sum(o['Size'] for o in found)} bytes arrived")
    elif open_uploads:
        print(f"{open_uploads} uploads are open")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bucket"]:
            make_bucket()
        case ["check", to, objects, size]:
            check(to, int(objects), int(size))
        case ["boto3-small", prefix, to, _]:
            copy_small(prefix, to)
        case [tool, key, to, scratch]:
            copy(tool, key, to, scratch)
