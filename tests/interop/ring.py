"""xpsync cp around a ring of servers, every copy read back by boto3: ring.py XPSYNC EMBEDDED.

Each server is once source and once target. A copy counts if the program says so (status 0, its report) *and* the target agrees: bytes,
size, ETag computed here from the bytes, attributes, tags, no upload left open; and if a repeat finds it unchanged.
"""
import hashlib, json, subprocess, sys, time
from dataclasses import dataclass, field
from urllib.parse import quote
from botocore.exceptions import ClientError
from command import Command
from lacks import ERRORS, LACKS, able, connect, make_bucket, tags_of
from objects import ATTRIBUTES, KEYS, LONG, METADATA, TAGS, Contents, GiB, MiB, label, planned_part
from servers import Fleet

RING = ["rclone", "localstack", "moto", "radosgw", "embedded"]
LARGE = {("rclone", "localstack"), ("radosgw", "embedded")}


@dataclass
class Case:
    """One object to copy. `part` is the part size of its multipart layout at the source."""
    name: str
    key: str
    size: int
    part: int | None = None
    tags: bool = False
    overwrites: bool = False
    edges: set | None = None


CASES = [Case(f"key {label(key)}", key, 1000 + i) for i, key in enumerate(KEYS)] + [
    Case("0 bytes", "size/0", 0),
    Case("1 byte", "size/1", 1),
    Case("5 MiB - 1", "size/5m-1", 5 * MiB - 1),
    Case("5 MiB", "size/5m", 5 * MiB),
    Case("5 MiB + 1", "size/5m+1", 5 * MiB + 1),
    Case("16 MiB", "size/16m", 16 * MiB),
    Case("16 MiB + 1", "size/16m+1", 16 * MiB + 1),
    Case("5 MiB + 1 from parts of 5 MiB", "parts/5m+1", 5 * MiB + 1, part=5 * MiB),
    Case("20 MiB + 3 from parts of 7 MiB", "parts/20m+3", 20 * MiB + 3, part=7 * MiB),
    Case("tags", "tags/small", 2000, tags=True),
    Case("tags, 17 MiB", "tags/17m", 17 * MiB, tags=True),
    Case("over another object", "over/small", 3000, overwrites=True),
    Case("over another object, 17 MiB", "over/17m", 17 * MiB, overwrites=True),
    Case("100 MiB - 1", "large/100m-1", 100 * MiB - 1, edges=LARGE),
    Case("100 MiB from parts of 8 MiB", "large/100m", 100 * MiB, part=8 * MiB, edges=LARGE),
    Case("1 GiB", "large/1g", GiB, edges=LARGE),
]


class Wrong(Exception):
    """A copy that is not what it has to be."""


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what}: {got!r}, wanted {wanted!r}")


@dataclass
class Side:
    server: object
    client: object
    able: dict
    bucket: str = ""


@dataclass
class Ring:
    fleet: Fleet
    command: Command
    contents: Contents
    sides: dict
    results: dict = field(default_factory=dict)

    def cp(self, source, target, key, target_profile=None):
        """One run: its exit status, the report of its object, the seconds it took."""
        began = time.monotonic()
        done = subprocess.run(
            self.command.cp(source.server, source.bucket, target.server, target.bucket, key, target_profile),
            env=self.command.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
        with open(self.fleet.logs / "xpsync.log", "a") as log:
            log.write(f"--- {source.server.name} to {target.server.name}: {key} (status {done.returncode})\n{done.stdout}{done.stderr}")
        reports = [r for r in map(_json, done.stdout.splitlines()) if isinstance(r, dict) and "outcome" in r]
        if len(reports) != 1:
            raise Wrong(f"status {done.returncode}, {len(reports)} reports; stderr: {done.stderr.strip()[-600:]}")
        return done.returncode, reports[0], time.monotonic() - began

    # -- one copy

    def seed(self, source, case, content):
        """The object at its source, as boto3 would have put it."""
        about = {**ATTRIBUTES, "Metadata": METADATA}
        if case.tags:
            about["Tagging"] = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in TAGS.items())
        where = {"Bucket": source.bucket, "Key": case.key}
        with open(content.path, "rb") as f:
            if case.part is None:
                source.client.put_object(**where, Body=f, **about)
                return
            upload, done = source.client.create_multipart_upload(**where, **about)["UploadId"], []
            while piece := f.read(case.part):
                number = len(done) + 1
                done.append({"PartNumber": number, "ETag": source.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=piece)["ETag"]})
            source.client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": done})

    def copy(self, source, target, case):
        content = self.contents.get(case.size)
        self.seed(source, case, content)
        if case.overwrites:
            target.client.put_object(Bucket=target.bucket, Key=case.key, Body=b"what was there before")
        # What the source shows of its layout: its ETag's kind and its parts, as far as this server keeps them.
        shown = case.part if source.able["shows parts"] and source.able["keeps a multipart ETag"] else None
        part = planned_part(case.size, shown)
        etag = content.etag(part)

        status, report, seconds = self.cp(source, target, case.key)
        expect("outcome", (status, report["outcome"]), (0, "copied"))
        expect("report's bytes", report["bytes"], case.size)
        expect("report's source", (report["source"]["bucket"], report["source"]["key"], report["source"]["size"]), (source.bucket, case.key, case.size))
        expect("report's target", (report["target"]["bucket"], report["target"]["key"]), (target.bucket, case.key))
        expect("report's ETag of the target", report["target"]["etag"].strip('"'), etag)
        expect("report's parts", report["parts"], 1 if part is None else -(-case.size // part))
        if not {"etag", "crc64nvme"} & set(report["verified_by"]):
            raise Wrong(f"verified_by: {report['verified_by']}")
        self.read_back(target, case, content, etag if target.able["keeps a multipart ETag"] else content.md5, part)

        status, report, _ = self.cp(source, target, case.key)
        # Where the target forgets the multipart ETag that it acknowledged, or the tags, a second look cannot see that they are the same:
        # a second copy is then as right as `unchanged`, and only a failure is wrong.
        forgets = "-" in etag and case.part and not target.able["keeps a multipart ETag"]
        forgets = forgets or case.tags and not target.able["tags" if part is None else "tags of a multipart upload"]
        # A target without conditions takes the small PUT that goes first; one that stores no checksum shows only by our record, which is
        # written once it was seen so, that an object with another ETag has the same bytes.
        forgets = forgets or case.size <= 64 << 10 and not target.able["PUT If-None-Match"]
        forgets = forgets or etag != content.etag(case.part) and not target.able["CRC64NVME of its own"]
        again = report["outcome"]
        expect("repeat", (status, again if forgets and again == "copied" else "unchanged"), (0, again))
        expect("repeat's bytes", report["bytes"], 0 if again == "unchanged" else case.size)
        self.nothing_open(target)
        if case.size >= 100 * MiB - 1:
            return f"{case.size / seconds / 1e6:.0f} MB/s"
        return "ok" if again == "unchanged" else "lack: copied twice"

    def read_back(self, target, case, content, etag, part):
        got = target.client.get_object(Bucket=target.bucket, Key=case.key)
        sha, size = hashlib.sha256(), 0
        for piece in got["Body"].iter_chunks(MiB):
            sha.update(piece)
            size += len(piece)
        expect("size read back", size, case.size)
        expect("bytes read back (sha256)", sha.hexdigest(), content.sha256)
        head = target.client.head_object(Bucket=target.bucket, Key=case.key, ChecksumMode="ENABLED")
        expect("ETag read back", head["ETag"].strip('"'), etag)
        if target.able["CRC64NVME of its own"]:
            expect("CRC64NVME read back", (head.get("ChecksumCRC64NVME"), head.get("ChecksumType")), (content.crc64nvme, "FULL_OBJECT"))
        expect("attributes read back", {name: head.get(name) for name in ATTRIBUTES}, ATTRIBUTES)
        # Names of metadata have no case, and rclone gives them capitals. This project's own mark may be beside what was there.
        expect("metadata read back", {k.lower(): v for k, v in head["Metadata"].items() if not k.lower().startswith("xpsync-")}, METADATA)
        if case.tags and target.able["tags"]:
            stay = target.able["tags" if part is None else "tags of a multipart upload"]
            expect("tags read back", tags_of(target.client, target.bucket, case.key), TAGS if stay else {})
        self.nothing_open(target)

    def nothing_open(self, target):
        try:
            left = target.client.list_multipart_uploads(Bucket=target.bucket).get("Uploads", [])
        except ClientError as error:
            # What rclone answers for a bucket that never had an upload; asserted as "lists no uploads where none were".
            if target.able["lists no uploads where none were"] or error.response["Error"]["Code"] != "NoSuchUpload":
                raise
            left = []
        expect("uploads left open", [u["Key"] for u in left], [])

    # -- an edge

    def edge(self, source, target):
        name = (source.server.name, target.server.name)
        source.bucket, target.bucket = f"from-{name[0]}", f"to-{name[1]}"
        make_bucket(source.client, source.server, source.bucket)
        make_bucket(target.client, target.server, target.bucket)
        for case in CASES:
            if case.edges is not None and name not in case.edges:
                continue
            feature = f"key {label(case.key)}"
            if not source.able.get(feature, True) or case.tags and not source.able["tags"]:
                self.note(name, case.name, "source lacks it")
            elif not target.able.get(feature, True):
                self.run(name, case.name, lambda: self.refused(source, target, case))
            else:
                self.run(name, case.name, lambda: self.copy(source, target, case))
        self.run(name, "absent source", lambda: self.absent(source, target))
        if target.able["checks signatures"]:
            self.run(name, "wrong keys for the target", lambda: self.wrong_keys(source, target))
        else:
            self.note(name, "wrong keys for the target", "target lacks it")

    def refused(self, source, target, case):
        """A key that the target does not take: said, with status 1, and nothing left behind."""
        self.seed(source, case, self.contents.get(case.size))
        status, report, _ = self.cp(source, target, case.key)
        expect("outcome", (status, report["outcome"]), (1, "failed"))
        if not (report["error"] or {}).get("code"):
            raise Wrong(f"a failure without the target's code: {report['error']}")
        self.nothing_open(target)
        return "refused"

    def absent(self, source, target):
        status, report, _ = self.cp(source, target, "absent/key")
        expect("outcome", (status, report["outcome"]), (1, "failed"))
        expect("code", (report["error"] or {}).get("code"), "NoSuchKey")
        return "refused"

    def wrong_keys(self, source, target):
        case = Case("", "wrong/keys", 100)
        self.seed(source, case, self.contents.get(case.size))
        status, report, _ = self.cp(source, target, case.key, f"{target.server.name}-wrong")
        expect("outcome", (status, report["outcome"]), (1, "failed"))
        expect("code", (report["error"] or {}).get("code"), "SignatureDoesNotMatch")
        if not report["error"].get("hint"):
            raise Wrong("a refusal without a hint")
        try:
            target.client.head_object(Bucket=target.bucket, Key=case.key)
        except ERRORS:
            return "refused"
        raise Wrong("the object is at the target")

    # -- results

    def note(self, edge, case, text):
        self.results[edge, case] = (None, text)

    def run(self, edge, case, trial):
        try:
            self.results[edge, case] = (True, trial())
        except (Wrong, *ERRORS, KeyError, TypeError, AttributeError, subprocess.TimeoutExpired) as error:
            self.results[edge, case] = (False, "FAIL")
            print(f"FAIL {edge[0]} to {edge[1]}: {case}: {type(error).__name__}: {error}", flush=True)


def _json(line):
    try:
        return json.loads(line)
    except ValueError:
        return None


def table(title, columns, rows):
    """Rows of (name, cells); widths count characters, since keys are not all ASCII."""
    widths = [max(len(r[i + 1]) for r in [("", *columns), *rows]) for i in range(len(columns))]
    first = max(len(r[0]) for r in rows)
    print(f"\n{title.ljust(first)}  " + "  ".join(c.ljust(w) for c, w in zip(columns, widths)))
    for row in rows:
        print(row[0].ljust(first) + "  " + "  ".join(c.ljust(w) for c, w in zip(row[1:], widths)))


def main(xpsync, embedded):
    passed = failed = 0
    with Fleet() as fleet:
        (fleet.logs / "xpsync.log").unlink(missing_ok=True)
        sides = {}
        for name in RING:
            server = fleet.embedded([embedded]) if name == "embedded" else getattr(fleet, name)()
            print(f"{name} is up: {server.url}", flush=True)
            sides[name] = Side(server, None, {})
        for side in sides.values():
            side.client = connect(side.server, fleet.ca)
            side.able = able(side.server, fleet.ca)
        features = list(sides["rclone"].able)
        rows = []
        for feature in features:
            cells = []
            for name in RING:
                has, as_known = sides[name].able[feature], sides[name].able[feature] != (feature in LACKS[name])
                passed, failed = passed + as_known, failed + (not as_known)
                cells.append(("yes" if has else "lacks it") + ("" if as_known else ": NEW"))
            rows.append((feature, *cells))
        table("what the servers do", RING, rows)

        command = Command(fleet.dir, fleet.ca, xpsync, [side.server for side in sides.values()])
        ring = Ring(fleet, command, Contents(fleet.dir / "contents"), sides)
        edges = list(zip(RING, RING[1:] + RING[:1]))
        print(flush=True)
        for source, target in edges:
            began = time.monotonic()
            ring.edge(sides[source], sides[target])
            print(f"{source} to {target}: {time.monotonic() - began:.0f} s", flush=True)
        names = list(dict.fromkeys(case for _, case in ring.results))
        table("copies", [f"{s} to {t}" for s, t in edges], [(n, *(ring.results.get((e, n), (None, "-"))[1] for e in edges)) for n in names])
        held = [r[0] for r in ring.results.values() if r[0] is not None]
        passed, failed = passed + sum(held), failed + len(held) - sum(held)
        print(f"\nlogs: {fleet.logs}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or not held


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
