"""One UploadPart whose checksum is not in its head: in a trailer, wrong or right, or nowhere. boto3 chooses the form itself, so this signs and
sends by hand, as xpsync does when it streams a part.
"""
import http.client, re, ssl
from urllib.parse import quote, urlsplit
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TRAILER = "x-amz-checksum-crc64nvme"
CHUNK = 64 << 10


class Auth(S3SigV4Auth):
    def __init__(self, server, payload):
        super().__init__(Credentials(server.access_key, server.secret_key), "s3", server.region)
        self.kind = payload

    def payload(self, request):
        return self.kind


def framed(body, crc):
    chunks = [body[at:at + CHUNK] for at in range(0, len(body), CHUNK)]
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + f"0\r\n{TRAILER}:{crc}\r\n\r\n".encode()


def upload_part(server, ca, bucket, key, upload, body, crc=None):
    """Status and code of the answer to part 1, whose CRC64NVME `crc` comes behind it; without one the bytes go as they are."""
    headers, sent, payload = {}, body, "UNSIGNED-PAYLOAD"
    if crc:
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": TRAILER}
        sent, payload = framed(body, crc), "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    url, target = urlsplit(server.url), f"/{bucket}/{quote(key)}?partNumber=1&uploadId={quote(upload, safe='')}"
    request = AWSRequest("PUT", server.url + target, {**headers, "content-length": str(len(sent))})
    request.context.update(client_config=None, signing={})
    Auth(server, payload).add_auth(request)
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=60, context=ssl.create_default_context(cafile=str(ca)))
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request("PUT", target, sent, dict(request.headers))
        answer = connection.getresponse()
        code = re.search(rb"<Code>(.*?)</Code>", answer.read())
        return answer.status, code and code[1].decode()
    finally:
        connection.close()
