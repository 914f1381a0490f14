"""What is copied and what has to come out of it: contents, keys, and the arithmetic of ETags and checksums in Python's own words.

Shares no code with the program under test; that is its worth.
"""
import base64, functools, hashlib, pathlib, random
from dataclasses import dataclass
from awscrt.checksums import crc64nvme

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
ONE_PUT, OWN_LAYOUT, SPLIT = 16 * MiB, 64 * MiB, 5 * MiB

# Of 1,024 bytes, in segments that fit a file system, for one of the servers keeps objects as files.
LONG = "/".join(["新" * 60] * 5) + "/" + "y" * 119
assert len(LONG.encode()) == 1024
KEYS = ["a b+c/ü%25~!*'().txt", "dir//double", "dir/./x", "trailing/", "/lead", "日本語/ключ", LONG]

ATTRIBUTES = {"ContentType": "text/x-interop; charset=utf-8", "CacheControl": "max-age=31, must-revalidate", "ContentLanguage": "zh",
              "ContentDisposition": 'attachment; filename="a b.txt"', "ContentEncoding": "gzip"}
METADATA = {"origin": "cn-northwest-1", "two-words": "a, b; c=d"}
TAGS = {"plain": "1", "odd key": "a+b=c/d:e@f"}


def label(key):
    return key if len(key) < 40 else f"a key of {len(key.encode())} bytes"


@dataclass(frozen=True)
class Content:
    path: pathlib.Path
    size: int
    sha256: str
    md5: str
    crc64nvme: str

    def etag(self, part):
        """The ETag of this content in one PUT (`part` None), or as a multipart object of parts of that size."""
        return self.md5 if part is None else _multipart_etag(self.path, part)


@functools.cache
def _multipart_etag(path, part):
    digests = []
    with open(path, "rb") as f:
        while piece := f.read(part):
            digests.append(hashlib.md5(piece).digest())
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


class Contents:
    """Random bytes by size and seed, each made once. No two MiB of one are equal, so parts cannot change places unnoticed."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}
        folder.mkdir()

    def get(self, size, seed=0):
        if (size, seed) not in self.made:
            path = self.folder / f"{size}-{seed}"
            sha, md5, crc = hashlib.sha256(), hashlib.md5(), 0
            with open(path, "wb") as f:
                for i in range(0, size, MiB):
                    piece = random.Random(f"{seed}/{size}/{i}").randbytes(min(MiB, size - i))
                    f.write(piece)
                    sha.update(piece)
                    md5.update(piece)
                    crc = crc64nvme(piece, crc)
            self.made[size, seed] = Content(path, size, sha.hexdigest(), md5.hexdigest(), base64.b64encode(crc.to_bytes(8, "big")).decode())
        return self.made[size, seed]


def planned_part(size, source_part):
    """The part size that the copy has to have: None for one PUT. `source_part` is that of the source's own layout where it is to be seen."""
    if size <= ONE_PUT:
        return None
    if source_part is not None and source_part <= OWN_LAYOUT:
        return source_part
    return SPLIT
