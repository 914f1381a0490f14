"""What a server has after all: bytes, ETag and checksum of an object, and uploads that are open, seen by boto3 past every proxy."""
from dataclasses import dataclass
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError
from objects import MiB

LOST = ", all but parts"


@dataclass
class Place:
    """A bucket of a server. `able` is what the server was found able to do."""
    server: object
    client: object
    able: dict
    bucket: str = ""

    def seed(self, key, content, part=None, **about):
        where = {"Bucket": self.bucket, "Key": key}
        with open(content.path, "rb") as f:
            if part is None:
                self.client.put_object(**where, Body=f, **about)
                return
            upload, done = self.client.create_multipart_upload(**where, **about)["UploadId"], []
            while piece := f.read(part):
                number = len(done) + 1
                done.append({"PartNumber": number, "ETag": self.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=piece)["ETag"]})
            self.client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": done})

    def remove(self, key):
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def size(self, key):
        """None of what is not there."""
        try:
            return self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        except ClientError:
            return None

    def open_uploads(self, key=""):
        found = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=key).get("Uploads", [])
        return [(upload["Key"], upload["UploadId"]) for upload in found]

    def kept(self, key):
        """The sizes of the whole parts in the upload of this key that has the most bytes."""
        most = []
        for of, upload in self.open_uploads(key):
            try:
                parts = self.client.list_parts(Bucket=self.bucket, Key=of, UploadId=upload).get("Parts", [])
            except ClientError:
                continue
            most = max(most, [part["Size"] for part in parts], key=sum)
        return most

    def wrong(self, key, content, part):
        """What is not as it has to be; `part` is the size of the parts that it was to be sent in, None for one PUT."""
        try:
            head = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            return [f"not there: {error}"]
        found, body, cut = [], bytearray(), ""
        try:
            for piece in self.client.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(MiB):
                body += piece
        except (IncompleteReadError, ResponseStreamingError):
            cut = ", and it said more"
        wanted, etag = content.path.read_bytes(), head["ETag"].strip('"')
        if body != wanted:
            missing = missing_parts(body, wanted, part)
            found.append(f"{len(body)} bytes of {len(wanted)}" + (f"{LOST} {missing}" if missing else ", others") + cut)
        if etag != content.etag(part):
            found.append(f"ETag {etag}, wanted {content.etag(part)}")
        if self.able["CRC64NVME of its own"] and head.get("ChecksumCRC64NVME") != content.crc64nvme:
            found.append(f"CRC64NVME {head.get('ChecksumCRC64NVME')}, wanted {content.crc64nvme}")
        return found


def is_lost_by_server(place, wrong):
    """Whether a server acknowledged the right ETag and checksum, shows them, and has not got all the parts that they are of.

    LocalStack does it in two ways, both of its store (localstack/services/s3/storage/ephemeral.py): a part's file is removed when a later
    upload of that part fails (asserted as "keeps a part whose second upload is refused"), and of two Completes of one upload at a time, such
    as that of a process that was just killed and that of the next one, either empties the object, whose parts the other has taken. S3 has
    neither. It is counted and shown, and is no difference of ours.
    """
    return place.server.name == "localstack" and len(wrong) == 1 and LOST in wrong[0]


def missing_parts(body, wanted, part):
    """The numbers of the parts without which the wanted bytes are these; None if they are others."""
    if part is None:
        return None
    at, missing = 0, []
    for number, start in enumerate(range(0, len(wanted), part), 1):
        piece = wanted[start:start + part]
        if body[at:at + len(piece)] == piece:
            at += len(piece)
        else:
            missing.append(number)
    return missing if missing and at == len(body) else None
