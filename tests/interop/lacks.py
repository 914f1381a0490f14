"""What each server is able to do, tried with boto3. What one lacks is an expectation like any other: it is tried, and found lacking.

So nothing is left out in silence, and a release that learns something fails here until the table below has it.
"""
import base64, hashlib, uuid
import boto3, botocore.handlers
from awscrt.checksums import crc64nvme
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from objects import KEYS, LONG, MiB, label
from streamed import upload_part

LACKS = {
    "rclone": {"key dir//double", "key dir/./x", "key /lead", "lists trailing/", "lists no uploads where none were", "tags",
               "tags of a multipart upload", "counts tags",
               "GET If-Match", "PUT If-None-Match", "PUT If-Match, right", "PUT If-Match, wrong", "Complete If-None-Match", "Complete If-Match",
               "206 for a range", "refuses a wrong CRC64NVME", "CRC64NVME of its own", "CRC64NVME of a multipart object", "shows parts", "shows parts under If-Match",
               "keeps a multipart ETag", "checks the size at Complete", "refuses a wrong trailer"},
    "localstack": {"checks signatures", "takes a part without the checksum that Create names",
                   "keeps a part whose second upload is refused", "says that it is S3"},
    "moto": {"checks signatures", "Complete If-Match", "refuses a wrong CRC64NVME", "CRC64NVME of its own", "shows parts under If-Match",
             "checks the size at Complete", "refuses a wrong trailer", "says that it is S3"},
    "radosgw": {"multipart under a key of 1,024 bytes", "tags of a multipart upload", "PUT If-Match, right", "Complete If-None-Match",
                "Complete If-Match", "refuses a wrong CRC64NVME", "CRC64NVME of its own", "CRC64NVME of a multipart object", "shows parts", "shows parts under If-Match",
                "checks the size at Complete", "takes a part with a trailer", "refuses a wrong trailer", "says that it is S3"},
    "embedded": set(),
}
PARTS = (b"a" * (5 * MiB), b"b" * 100)
ERRORS = (ClientError, ConnectionError, HTTPClientError)


def crc(body):
    return base64.b64encode(crc64nvme(body).to_bytes(8, "big")).decode()


def connect(server, ca, **other):
    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key, **other}
    client = boto3.client("s3", endpoint_url=server.url, region_name=server.region, verify=str(ca), **keys,
                        config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "max_attempts": 1}, read_timeout=300,
                                      request_checksum_calculation="when_required", response_checksum_validation="when_required"))
    # rclone refuses a PUT before its body and then hears nothing more on that connection: two minutes lost for each refused key.
    client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
    return client


def make_bucket(client, server, bucket):
    # Of the gateways only AWS's imitations know regions.
    where = {"CreateBucketConfiguration": {"LocationConstraint": server.region}} if server.name in ("localstack", "moto", "embedded") else {}
    client.create_bucket(Bucket=bucket, **where)


def tags_of(client, bucket, key):
    return {t["Key"]: t["Value"] for t in client.get_object_tagging(Bucket=bucket, Key=key).get("TagSet", [])}


def able(server, ca):
    """Feature → whether the server has it."""
    client, bucket = connect(server, ca), f"able-{uuid.uuid4().hex[:8]}"
    make_bucket(client, server, bucket)
    put = lambda key, body=b"body", **more: client.put_object(Bucket=bucket, Key=key, Body=body, **more)
    head = lambda key, **more: client.head_object(Bucket=bucket, Key=key, **more)

    def refused(call, **arguments):
        """Whether the call is refused as S3 refuses it, by one of these codes."""
        try:
            call(**arguments)
            return False
        except ClientError as error:
            return error.response["Error"]["Code"] in ("PreconditionFailed", "412", "BadDigest", "InvalidRequest", "SignatureDoesNotMatch")

    def multipart(key, create={}, complete={}, sums=(None, None)):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key, **create)["UploadId"]
        try:
            done = []
            for number, (part, crc) in enumerate(zip(PARTS, sums), 1):
                summed = {"ChecksumCRC64NVME": crc} if crc else {}
                reply = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part, **summed)
                done.append({"PartNumber": number, "ETag": reply["ETag"], **summed})
            client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}, **complete)
        except ERRORS:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            raise
        return True

    def takes(key):
        put(key, key.encode())
        return client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()

    def lists(key):
        put(key)
        return key in (o["Key"] for o in client.list_objects_v2(Bucket=bucket, Prefix=key[:4])["Contents"])

    def tagged():
        put("tagged", Tagging="a=1&b=%2B")
        return tags_of(client, bucket, "tagged") == {"a": "1", "b": "+"}

    def tagged_parts():
        multipart("tagged-parts", {"Tagging": "a=1"})
        return tags_of(client, bucket, "tagged-parts") == {"a": "1"}

    def counted():
        put("counted", Tagging="a=1&b=2")
        put("uncounted")
        got = client.get_object(Bucket=bucket, Key="counted")
        return (got.get("TagCount"), head("counted")["ResponseMetadata"]["HTTPHeaders"].get("x-amz-tagging-count"), head("uncounted").get("TagCount")) == (2, "2", None)

    def put_if_match():
        # The ETag as the server gave it, quotes included, as boto3's users do.
        put("matched", IfMatch=put("matched")["ETag"])
        return True

    def ranged():
        put("ranged", b"0123456789")
        return client.get_object(Bucket=bucket, Key="ranged", Range="bytes=2-4")["ResponseMetadata"]["HTTPStatusCode"] == 206

    def own_crc():
        put("summed")
        return head("summed", ChecksumMode="ENABLED").get("ChecksumCRC64NVME") == crc(b"body")

    def parts_seen():
        multipart("parts")
        first = head("parts", PartNumber=1)
        return (first.get("PartsCount"), first["ContentLength"]) == (2, 5 * MiB)

    def parts_seen_pinned():
        multipart("parts")
        return head("parts", PartNumber=1, IfMatch=head("parts")["ETag"]).get("PartsCount") == 2

    def refuses_at_complete(**condition):
        put("completed", b"another")
        return refused(lambda: multipart("completed", complete=condition))

    def signatures():
        return refused(connect(server, ca, aws_secret_access_key="wrong").list_objects_v2, Bucket=bucket)

    def summed_parts():
        multipart("summed-parts", {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"},
                  {"ChecksumType": "FULL_OBJECT", "ChecksumCRC64NVME": crc(b"".join(PARTS))}, [crc(p) for p in PARTS])
        return head("summed-parts", ChecksumMode="ENABLED").get("ChecksumCRC64NVME") == crc(b"".join(PARTS))

    def streamed(**trailer):
        named = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
        upload = client.create_multipart_upload(Bucket=bucket, Key="streamed", **named)["UploadId"]
        answer = upload_part(server, ca, bucket, "streamed", upload, PARTS[0], **trailer)
        kept = client.list_parts(Bucket=bucket, Key="streamed", UploadId=upload).get("Parts", [])
        client.abort_multipart_upload(Bucket=bucket, Key="streamed", UploadId=upload)
        return answer, [part["ETag"].strip('"') for part in kept]

    def kept_part():
        upload = client.create_multipart_upload(Bucket=bucket, Key="kept-part")["UploadId"]
        part = client.upload_part(Bucket=bucket, Key="kept-part", UploadId=upload, PartNumber=1, Body=PARTS[0])
        try:
            client.upload_part(Bucket=bucket, Key="kept-part", UploadId=upload, PartNumber=1, Body=PARTS[0], ChecksumCRC64NVME=wrong_crc)
        except ClientError:
            pass
        client.complete_multipart_upload(Bucket=bucket, Key="kept-part", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        return client.get_object(Bucket=bucket, Key="kept-part")["Body"].read() == PARTS[0]

    stored = ((200, None), [hashlib.md5(PARTS[0]).hexdigest()])
    wrong_etag, wrong_crc = '"' + "0" * 32 + '"', crc(b"another")
    put("there")
    trials = {f"key {label(key)}": (lambda key=key: takes(key)) for key in KEYS}
    trials |= {
        "lists no uploads where none were": lambda: not client.list_multipart_uploads(Bucket=bucket).get("Uploads"),
        "lists trailing/": lambda: lists("trailing/"),
        "multipart under a key of 1,024 bytes": lambda: multipart(LONG),
        "tags": tagged,
        "tags of a multipart upload": tagged_parts,
        "counts tags": counted,
        "GET If-Match": lambda: refused(client.get_object, Bucket=bucket, Key="there", IfMatch=wrong_etag),
        "PUT If-None-Match": lambda: refused(put, key="there", IfNoneMatch="*"),
        "PUT If-Match, right": put_if_match,
        "PUT If-Match, wrong": lambda: refused(put, key="there", IfMatch=wrong_etag),
        "Complete If-None-Match": lambda: refuses_at_complete(IfNoneMatch="*"),
        "Complete If-Match": lambda: refuses_at_complete(IfMatch=wrong_etag),
        "206 for a range": ranged,
        "refuses a wrong CRC64NVME": lambda: refused(put, key="wrong", ChecksumCRC64NVME=wrong_crc),
        "CRC64NVME of its own": own_crc,
        "CRC64NVME of a multipart object": summed_parts,
        "shows parts": parts_seen,
        "shows parts under If-Match": parts_seen_pinned,
        "keeps a multipart ETag": lambda: multipart("kept") and head("kept")["ETag"].endswith('-2"'),
        "checks the size at Complete": lambda: refuses_at_complete(MpuObjectSize=7),
        "checks signatures": signatures,
        "takes a part with a trailer": lambda: streamed(crc=crc(PARTS[0])) == stored,
        "refuses a wrong trailer": lambda: streamed(crc=wrong_crc) == ((400, "BadDigest"), []),
        "takes a part without the checksum that Create names": lambda: streamed() == stored,
        "keeps a part whose second upload is refused": kept_part,
        "says that it is S3": lambda: head("there")["ResponseMetadata"]["HTTPHeaders"].get("server") == "AmazonS3",
    }
    found = {}
    for feature, trial in trials.items():
        try:
            found[feature] = trial()
        except ERRORS:
            found[feature] = False
    # "A right If-Match" proves nothing where no condition is looked at.
    found["PUT If-Match, right"] = found["PUT If-Match, right"] and found["PUT If-Match, wrong"]
    return found

