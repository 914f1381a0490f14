"""What is measured: rows, tools and their commands, as values. `python rows.py` lists them."""
from dataclasses import dataclass, field
from fnmatch import fnmatch

MIB = 1 << 20
SMALL = 10 << 10
# A tool with this behind its name copies an object that was put together from parts of so many bytes, as the AWS CLI uploads
# it. To the peers it is all the same.
IN_PARTS, PART = "-in-parts", 8 * MIB
# One with this runs with what a function of 512 MB has: the budget of parts, and the kernel's pages for sockets, of which the second value
# is a sixteenth of the memory.
IN_512, IN_512_PARTS, IN_512_TCP_MEM = "-in-512MB", "208MiB", (5860, 7812, 11720)


@dataclass(frozen=True)
class Row:
    """A border, or loopback, and what is copied over it: an object of so many MiB, or so many objects of SMALL bytes."""
    border: tuple  # arguments of `border run`; none: loopback
    tools: tuple
    size: int = 1024
    sizes: dict = field(default_factory=dict)  # of tools that would take more than four minutes
    many: bool = False
    limit: int = 420  # seconds of a run; sizes are such that peers stay below

    def what(self, tool, shrink):
        """Objects, bytes of each, and where they are at the source."""
        size = self.sizes.get(tool, self.size)
        if self.many:
            return size // shrink, SMALL, f"small-{size // shrink}"
        return 1, size * MIB // shrink, f"{size}MiB" + (IN_PARTS if tool.endswith(IN_PARTS) else "")

    def seeds(self, tool, shrink):
        """Those objects, as the embedded server makes them."""
        objects, size, key = self.what(tool, shrink)
        parts = f":{PART}" if key.endswith(IN_PARTS) else ""
        return [f"{key}={size}{parts}"] if objects == 1 else [f"{key}/{n:04}={size}" for n in range(objects)]


PEERS = ("rclone", "rclone-64", "aws", "aws-64", "boto3", "boto3-64", "boto3-stream-64", "s5cmd", "s5cmd-64")
BEST = ("xpsync", "s5cmd-64", "rclone-64")
# Servers that are not ours, by their names behind --target and --source. The source is in the network of the client.
TARGETS, SOURCES = ("embedded", "radosgw", "rclone"), ("embedded", "rclone")
# Paths that nobody chose.
SEEDS = range(1, 13)
OVER_LOSS = (*BEST, "boto3")  # the last is the best at its defaults
LOSSES = ("0", "0.01", "0.05", "0.1", "0.5", "1")

# A smaller object has enough parts for all of a tool's connections, or the tool would be held back by it.
ROWS = {
    "usual": Row(("usual",), ("xpsync", *PEERS), sizes={
        "rclone": 256, "aws": 256, "aws-64": 256, "boto3": 256, "boto3-64": 512, "boto3-stream-64": 512, "s5cmd": 256}),
    "evening": Row(("evening",), ("xpsync", *(peer for peer in PEERS if peer != "s5cmd")), sizes={
        "rclone": 48, "aws": 160, "aws-64": 320, "boto3": 160, "boto3-64": 512, "boto3-stream-64": 512}),
    "good": Row(("good",), ("xpsync", "xpsync-in-parts", *PEERS), sizes={"rclone": 512, "s5cmd": 512}),
    "flaky": Row(("flaky",), ("xpsync",)),
    "evening-4GiB": Row(("evening",), ("xpsync",), size=4096),
    "usual-512MB": Row(("usual",), ("xpsync-in-512MB",)),
    "usual-bbr": Row(("usual", "--congestion", "bbr"), BEST),
    "evening-bbr": Row(("evening", "--congestion", "bbr"), BEST),
    "small": Row(("usual",), ("xpsync-handler", "rclone", "rclone-64", "rclone-64-no-head", "boto3-64", "s5cmd"), size=2000, sizes={"rclone": 500}, many=True),
    "loopback": Row((), ("xpsync", "xpsync-in-parts", "rclone", "rclone-64", "aws", "boto3", "boto3-64", "s5cmd-64")),
    "change": Row(("usual", "--then", "25s=evening"), ("xpsync",)),
    **{f"random-{seed}": Row((f"random-{seed}",), BEST, size=512, limit=900) for seed in SEEDS},
    **{f"loss-{loss}": Row((f"usual,loss={loss}%",), OVER_LOSS, size=512, sizes={"boto3": 160}) for loss in LOSSES},
}

RCLONE_64 = ("--multi-thread-streams", "64", "--multi-thread-cutoff", "8M", "--multi-thread-chunk-size", "5M", "--s3-upload-concurrency", "64",
             "--s3-chunk-size", "5M", "--transfers", "64", "--checkers", "64", "--s3-no-check-bucket")
# rclone takes an object up to its cutoffs in one stream: they are lowered so that a smaller object is treated as 1 GiB is by default.
RCLONE_LOWER = ("--multi-thread-cutoff", "8M", "--s3-upload-cutoff", "8M")
# What `measure.py` runs by other means, or not at all.
ELSEWHERE = ("xpsync-handler",)


@dataclass(frozen=True)
class Place:
    """Where the programs, the servers and their files are."""
    xpsync: str
    bin: str  # of the virtual environment
    s5cmd: str
    here: str
    folder: str
    scratch: str  # the client may write here
    source: str
    target: str


def s5cmd(place, side, *arguments):
    url = getattr(place, side)
    return [place.s5cmd, "--credentials-file", f"{place.folder}/credentials", "--profile", side, "--endpoint-url", url, *arguments]


def commands(tool, place, objects, size, key, to):
    """Steps of a copy, one after the other; each is a pipe of commands with variables of their own before them."""
    region = {"source": {"AWS_REGION": "cn-north-1"}, "target": {"AWS_REGION": "us-west-2"}}
    if objects > 1:
        return small(tool, place, key, to, region)
    name, _, setting = tool.partition("-")
    if name == "xpsync":
        ends = [a for side in ("source", "target") for a in (f"--{side}-profile", side, f"--{side}-endpoint-url", getattr(place, side))]
        limit = ("--memory-limit", IN_512_PARTS) if tool.endswith(IN_512) else ()
        return [[({}, [place.xpsync, "cp", f"s3://source/{key}", f"s3://target/{to}", "--json", *limit, *ends])]]
    if name == "rclone":
        flags = RCLONE_64 if setting else RCLONE_LOWER if size < 1 << 30 else ()
        return [[({}, [f"{place.bin}/rclone", "copyto", f"source:source/{key}", f"target:target/{to}", *flags])]]
    if name == "aws":
        config = {"AWS_CONFIG_FILE": f"{place.folder}/config-64"} if setting else {}
        config = {side: config | {"AWS_CA_BUNDLE": f"{place.folder}/{side}.pem"} for side in ("source", "target")}
        # Without the size the parts are 8 MiB, which do for 80 GB.
        return [[(config["source"], [f"{place.bin}/aws", "s3", "cp", f"s3://source/{key}", "-", "--profile", "source"]),
                 (config["target"], [f"{place.bin}/aws", "s3", "cp", "-", f"s3://target/{to}", "--profile", "target",
                                    "--expected-size", str(size)])]]
    if name == "boto3":
        return [[({}, [f"{place.bin}/python", f"{place.here}/objects.py", tool, key, to, place.scratch])]]
    if name == "s5cmd":
        flags = ("-c", "64", "-p", "5") if setting else ()
        return [[(region["source"], s5cmd(place, "source", "cat", *flags, f"s3://source/{key}")),
                 (region["target"], s5cmd(place, "target", "pipe", *flags, f"s3://target/{to}"))]]
    raise KeyError(tool)


def small(tool, place, key, to, region):
    name, _, setting = tool.partition("-")
    if name == "rclone":
        flags = RCLONE_64 if setting else ()
        flags += ("--s3-no-head",) if setting.endswith("no-head") else ()
        return [[({}, [f"{place.bin}/rclone", "copy", f"source:source/{key}", f"target:target/{to}", *flags])]]
    if name == "boto3":
        return [[({}, [f"{place.bin}/python", f"{place.here}/objects.py", "boto3-small", key, to, place.scratch])]]
    if name == "s5cmd":
        return [[(region["source"], s5cmd(place, "source", "cp", f"s3://source/{key}/*", f"{place.scratch}/small/"))],
                [(region["target"], s5cmd(place, "target", "cp", f"{place.scratch}/small/*", f"s3://target/{to}/"))]]
    raise KeyError(tool)


def chosen(names, patterns):
    """Those names that a pattern has, in their order."""
    unknown = [p for p in patterns if not any(fnmatch(n, p) for n in names)]
    if unknown:
        raise SystemExit(f"nothing is named {', '.join(unknown)}: there are {', '.join(names)}")
    return [n for n in names if not patterns or any(fnmatch(n, p) for p in patterns)]


def full_name(row, target, source):
    """A row's name where it was not measured between two embedded servers."""
    return row if (target, source) == ("embedded", "embedded") else f"{row}, {source} to {target}"


if __name__ == "__main__":
    for name, row in ROWS.items():
        print(f"{name:14} {' '.join(row.border) or 'no border':28} {' '.join(row.tools)}")
