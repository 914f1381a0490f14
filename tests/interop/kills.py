"""`kill -9` of `xpsync cp` and of `bootstrap` at random moments, and the same work again: what is there in the end, and what it took.

A trial kills one copy once, or more often, at moments uniform over the time that an uninterrupted one takes, start-up and end included;
then it is started again until it is done. Held against it: bytes, ETag and checksum at the target; nothing open, no journal left; and no
part that had arrived when the process died is sent again, counted by the proxy before the target and by the report.
"""
import random, re, subprocess, time
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit
from function import Cloud, Sandbox
from look import is_lost_by_server
from objects import MiB, planned_part
from proxy import Proxy

# Bytes a second over the border: slow enough that most kills find parts under way.
RATE = 64 * MiB
# The objects of each source: size, and the part size of their layout there.
SHAPES = [(40 * MiB + 1, None), (48 * MiB, 8 * MiB), (72 * MiB - 3, 7 * MiB)]
# What a run sends besides parts: heads, lists, TLS's records.
AROUND = lambda size: (256 << 10) + size // 50
# The share of killed runs whose next run is killed too.
AGAIN = 0.2
PATIENCE = 120


@dataclass
class Object:
    """One to copy, and what it has to be at the target."""
    source: object
    key: str
    content: object
    part: int
    is_seen_again: bool


@dataclass
class Row:
    server: str
    what: str
    kills: int = 0
    runs: int = 0
    resumed: int = 0
    whole: int = 0
    resent: int = 0
    scratch: int = 0
    left: int = 0
    lost: int = 0
    problems: list = field(default_factory=list)


class Cp:
    """The command line; its journal is in a folder of its own."""
    what = "kill -9 of cp"

    def __init__(self, command, target, log, folder):
        self.command, self.target, self.log, self.state = command, target, log, folder / f"state-{target.server.name}"
        self.journal = self.state / "xpsync/uploads"

    def begin(self, obj):
        argv = self.command.cp(obj.source.server, obj.source.bucket, self.target.server, self.target.bucket, obj.key)
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(argv, env=self.command.environment(XDG_STATE_HOME=str(self.state)), stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def ended(self, seconds):
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill(self):
        self.process.kill()
        return self.process.wait() == -9

    def finish(self, obj, rng=None):
        self.begin(obj)
        if not self.ended(PATIENCE):
            self.kill()
            return "the same command did not end"
        return None if self.process.returncode == 0 else f"the same command ended with status {self.process.returncode}"

    def close(self):
        pass


class Function:
    """The function in one sandbox after another, all with the same /tmp, behind a queue."""
    what = "kill -9 of bootstrap"

    def __init__(self, bootstrap, ca, target, log, folder):
        self.bootstrap, self.ca, self.target, self.log = bootstrap, ca, target, log
        self.tmp = folder / f"tmp-{target.server.name}"
        self.tmp.mkdir()
        self.journal = self.tmp / "xpsync-uploads"
        self.cloud = Cloud((target.server.access_key, target.server.secret_key))
        self.small = 0

    def sandbox(self, obj):
        source, target = obj.source, self.target
        environment = {"AWS_ACCESS_KEY_ID": source.server.access_key, "AWS_SECRET_ACCESS_KEY": source.server.secret_key,
                       "SOURCE_REGION": source.server.region, "SOURCE_BUCKET": source.bucket, "SOURCE_ENDPOINT_URL": source.server.url,
                       "TARGET_REGION": target.server.region, "TARGET_BUCKET": target.bucket, "TARGET_ENDPOINT_URL": target.server.url,
                       "AWS_CA_BUNDLE": str(self.ca), "TMPDIR": str(self.tmp)}
        return Sandbox(self.bootstrap, self.cloud, environment, self.log)

    def begin(self, obj):
        # After a kill the event is in the queue still.
        if self.cloud.queue.is_drained():
            self.cloud.queue.put(created(obj))
        self.alive = self.sandbox(obj)

    def ended(self, seconds):
        end = time.monotonic() + seconds
        with self.cloud.queue.changed:
            while not self.cloud.queue.is_drained():
                left = end - time.monotonic()
                if left <= 0 or self.alive.process.poll() is not None:
                    return False
                self.cloud.queue.changed.wait(min(left, 0.2))
        # An idle sandbox; that it is frozen or ended is no kill.
        self.alive.kill()
        return True

    def kill(self):
        return self.alive.kill()

    def finish(self, obj, rng=None):
        # Every third time the sandbox gets another key first, and leaves what it finds to the queue: two messages of one object then, of
        # which the later one must find it.
        if rng and obj.is_seen_again and rng.random() < 1 / 3:
            self.small += 1
            key = f"small/{self.small}"
            obj.source.client.put_object(Bucket=obj.source.bucket, Key=key, Body=b"small")
            self.cloud.queue.put(created(replace(obj, key=key)))
        self.begin(obj)
        if not self.ended(PATIENCE):
            self.kill()
            return f"the queue was not drained; the last answers: {self.cloud.queue.answers[-3:]}"
        if self.cloud.queue.buried:
            return f"dead letters: {self.cloud.queue.buried}"
        return None

    def close(self):
        self.cloud.close()


def created(obj):
    return {"version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
            "account": "111122223333", "time": "2026-11-12T00:00:00Z", "region": "cn-northwest-1", "resources": [f"arn:aws-cn:s3:::{obj.source.bucket}"],
            "detail": {"version": "0", "bucket": {"name": obj.source.bucket}, "object": {"key": obj.key, "size": obj.content.size}, "reason": "PutObject"}}


def seed_shapes(sources, contents):
    for source in sources:
        for size, part in SHAPES:
            source.seed(f"kills/{size}", contents.get(size), part)


def objects(sources, target, contents):
    """Each shape at each source. A copy with the source's own ETag, or a checksum at the target, is known again."""
    made = []
    for source in sources:
        for size, part in SHAPES:
            key, content = f"kills/{size}", contents.get(size)
            planned = planned_part(size, part if source.able["shows parts"] else None)
            made.append(Object(source, key, content, planned, planned == part or target.able["CRC64NVME of its own"]))
    return made


def trial(row, work, proxy, obj, span, scratch, most, rng):
    """Kills one copy, at most so often, and goes on with it."""
    killed = 0
    while not killed or killed < most and rng.random() < AGAIN:
        work.begin(obj)
        if work.ended(rng.uniform(0, span)) or not work.kill():
            break
        killed += 1
    row.kills += killed
    target, size = work.target, obj.content.size
    # A run that ended after one that was killed has gone on already.
    kept, is_whole, mark, logged = target.kept(obj.key), target.size(obj.key) == size, len(proxy.connections), work.log.stat().st_size
    problem = work.finish(obj, rng)
    sent, resumed = proxy.sent_since(mark), resumed_parts(work.log, logged, obj.key)
    wrong = [problem] if problem else []
    found = target.wrong(obj.key, obj.content, obj.part)
    if is_lost_by_server(target, found):
        row.lost += 1
        print(f"{time.strftime('%H:%M:%S')} lost by the server: {obj.key}: {found[0]}", flush=True)
        target.remove(obj.key)
        problem = work.finish(obj)
        found = [problem] if problem else target.wrong(obj.key, obj.content, obj.part)
    wrong += found
    left = target.open_uploads()
    row.left += len(left)
    if left or list(work.journal.glob("*.jsonl")):
        wrong.append(f"left: {left}, {[p.name for p in work.journal.glob('*.jsonl')]}")
    if killed:
        row.runs += 1
        missing = 0 if is_whole and obj.is_seen_again else size - sum(kept)
        row.whole += not missing
        if missing and kept:
            row.resumed, row.resent, row.scratch = row.resumed + 1, row.resent + sent, row.scratch + scratch
        # A target that takes no checksum behind a part refuses the first ones, and they cross twice: as many as are let out before the first is
        # refused, which can be all that are missing.
        times = 2 if scratch > size + AROUND(size) else 1
        if sent > missing * times + AROUND(size):
            wrong.append(f"{sent} bytes were sent again where {missing} were missing, and {scratch} are from scratch")
        if missing and kept and resumed < len(kept):
            wrong.append(f"{resumed} parts were resumed, of {len(kept)} that were there")
    if wrong:
        row.problems.append(f"{obj.source.server.name} {obj.key}: {'; '.join(wrong)}")
        print(f"FAIL {row.server}, {row.what}: {row.problems[-1]}; it said:", *said(work.log, logged, obj.key), sep="\n", flush=True)
        for _, upload in left:
            target.client.abort_multipart_upload(Bucket=target.bucket, Key=obj.key, UploadId=upload)
    target.remove(obj.key)


def said(log, since, key):
    """The lines that name this key, in what was logged since."""
    with open(log) as f:
        f.seek(since)
        # The function's report is a string in its line.
        return [line.strip() for line in (line.replace("\\", "") for line in f) if f'"key":"{key}"' in line]


def resumed_parts(log, since, key):
    """The parts of this key that the report of a copy says were kept, in what was logged since."""
    counts = [re.search(r'"outcome":"copied","source".*"resumed_parts":(\d+)', line) for line in said(log, since, key)]
    return max((int(count[1]) for count in counts if count), default=0)


def kills(work, proxy, objs, count, seed):
    """So many kills, spread over these objects."""
    row, rng, spans = Row(work.target.server.name, work.what), random.Random(f"{seed}/{work.target.server.name}/{work.what}"), {}
    try:
        while row.kills < count and len(row.problems) < 20:
            obj = objs[row.runs % len(objs)]
            at = (obj.source.server.name, obj.key)
            if at not in spans:
                began, mark = time.monotonic(), len(proxy.connections)
                work.begin(obj)
                if not work.ended(PATIENCE):
                    work.kill()
                    row.problems.append(f"{at}: an uninterrupted copy did not end")
                    break
                spans[at] = time.monotonic() - began, proxy.sent_since(mark)
                row.problems += [f"{at}: uninterrupted: {found}" for found in work.target.wrong(obj.key, obj.content, obj.part)]
                work.target.remove(obj.key)
            trial(row, work, proxy, obj, *spans[at], count - row.kills, rng)
    finally:
        work.close()
    return row


def side(what, command, program, fleet, target, sources, contents, count, seed):
    """One kind of kills at one target, over a border of its own."""
    url, name = urlsplit(target.server.url), target.server.name
    proxy = Proxy(url.port, rate=RATE)
    try:
        target = replace(target, server=replace(target.server, url=f"{url.scheme}://127.0.0.1:{proxy.port}"))
        log = fleet.logs / f"kills-{what}-{name}.log"
        if what == "cp":
            work = Cp(command, target, log, fleet.dir)
        else:
            work = Function(program, fleet.ca, target, log, fleet.dir)
        return kills(work, proxy, objects(sources, target, contents), count, seed)
    finally:
        proxy.close()
