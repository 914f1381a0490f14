"""Faults on servers that this project did not write: faults.py XPSYNC BOOTSTRAP.

A border that cuts, stalls and corrupts (here), and processes that are killed (kills.py), each with LocalStack and radosgw as targets.
Prints what became of each kind, then a table; exit status 1 if anything is not as it has to be.

KILLS   kills of each program at each target (default 5)
ROUNDS  copies of each size over each border (default 1)
SEED    of every random choice (default 1)
"""
import json, os, signal, subprocess, sys, time, traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit
from command import Command
from kills import seed_shapes, side
from lacks import able, connect, make_bucket
from look import Place, is_lost_by_server
from objects import Contents, KiB, MiB, planned_part
from proxy import Proxy, Script
from servers import Fleet, descendants

FROM, TO, KILLED = "source-bucket", "target-bucket", {"cp": "killed-cp", "bootstrap": "killed-bootstrap"}
SIZES = [KiB, MiB, 17 * MiB, 40 * MiB]
# A border that never opens is left by Ctrl-C after so long.
CLOSED = 6
# Of copies at a time: most of them wait.
AT_ONCE = 12
PATIENCE = 300


@dataclass(frozen=True)
class Border:
    """How one side is disturbed. Only what flips bits needs to see them."""
    name: str
    end: str
    kind: str
    way: str
    chance: float = 0.7
    most: float = 4
    seconds: float = float("inf")
    is_closed: bool = False


BORDERS = [
    Border("cuts at the target, going up", "target", "cut", "up"),
    Border("cuts at the target, coming down", "target", "cut", "down"),
    Border("cuts at the source, coming down", "source", "cut", "down"),
    Border("stalls for 3 s at the target", "target", "stall", "up", seconds=3),
    Border("stalls for 3 s at the source", "source", "stall", "down", seconds=3),
    Border("stalls for ever at the target", "target", "stall", "up", most=1),
    Border("stalls for ever at the source", "source", "stall", "down", most=1),
    Border("flips bits on the way to the target", "target", "flip", "up", chance=1),
    Border("flips bits on the way from the source", "source", "flip", "down", chance=1),
    Border("cuts every connection", "target", "cut", "up", chance=1, most=float("inf"), is_closed=True),
    Border("stalls every connection", "target", "stall", "up", chance=1, most=float("inf"), is_closed=True),
]


@dataclass
class Tally:
    runs: int = 0
    hits: int = 0
    at_once: int = 0
    again: int = 0
    unproven: int = 0
    lost: int = 0
    problems: list = field(default_factory=list)


def says_unproven(report):
    """Whether the report says that nothing shows what the source's bytes are: radosgw stores no checksum and does not show the parts that a
    multipart ETag is of, so that over plain HTTP a flip on the way from it cannot be seen by anybody.
    """
    of_source = {"source_etag", "source_checksum"} & set(report["verified_by"])
    unproven = "stores no checksum, and its ETag is not an MD5, so the bytes read could not be compared with it"
    return not of_source and unproven in (report["reason"] or "")


class Rounds:
    def __init__(self, command, contents, fleet, seed):
        self.command, self.contents, self.fleet, self.seed = command, contents, fleet, seed

    def one(self, border, source, target, size, number):
        """One copy over this border, and the same command over a good one where it did not get there."""
        key = f"borders/{border.name}/{size}/{number}".replace(" ", "-")
        content, tally = self.contents.get(size), Tally(runs=1)
        part = (8 * MiB, 5 * MiB)[number % 2] if size > 16 * MiB and number % 3 else None
        source.seed(key, content, part)
        planned = planned_part(size, part if source.able["shows parts"] else None)
        disturbed = source if border.end == "source" else target
        url = urlsplit(disturbed.server.plain or disturbed.server.url) if border.kind == "flip" else urlsplit(disturbed.server.url)
        # An object's bytes pass in parts, so a fault far into one would never come.
        span = min(size, 4 * MiB) if border.kind == "flip" else min(size, 8 * MiB) + 600
        script = Script(f"{self.seed}/{source.server.name}/{key}", border.kind, border.way, span, border.chance, border.most, border.seconds)
        proxy = Proxy(url.port, script)
        try:
            through = replace(disturbed.server, url=f"{url.scheme}://127.0.0.1:{proxy.port}")
            ends = (through, target.server) if border.end == "source" else (source.server, through)
            argv = self.command.cp(ends[0], source.bucket, ends[1], target.bucket, key)
            status, report, said = self.run(argv, CLOSED if border.is_closed else None)
            tally.hits = proxy.hits
            if status != 0:
                if not report or not (report["error"] or {}).get("message"):
                    tally.problems.append(f"status {status} without a reason: {said[-300:]}")
                elif report["outcome"] not in ("failed", "resumable"):
                    tally.problems.append(f"status {status} with outcome {report['outcome']}")
                proxy.heal()
                status, report, said = self.run(argv, None)
                tally.again = 1
                if status != 0:
                    tally.problems.append(f"over a good border: status {status}: {said[-300:]}")
            else:
                tally.at_once = 1
        finally:
            proxy.close()
        wrong = target.wrong(key, content, planned)
        if is_lost_by_server(target, wrong):
            tally.lost, wrong = 1, []
        if wrong and border.kind == "flip" and border.end == "source" and says_unproven(report):
            tally.unproven, wrong = 1, []
        tally.problems += wrong
        if left := target.open_uploads(key):
            tally.problems.append(f"left open: {left}; {json.dumps(report and report.get('reason'))}")
        if tally.problems:
            print(f"FAIL {source.server.name} to {target.server.name}, {key}: {'; '.join(tally.problems)}", flush=True)
        return border, target.server.name, tally

    def run(self, argv, interrupted_after):
        process = subprocess.Popen(argv, env=self.command.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, said = process.communicate(timeout=interrupted_after or PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                out, said = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                out, said = process.communicate()
                said += "\ndid not end after Ctrl-C"
        with open(self.fleet.logs / "faults.log", "a") as log:
            log.write(f"--- {' '.join(argv)} (status {process.returncode})\n{out}{said}")
        reports = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return process.returncode, next((r for r in reports if "outcome" in r), None), said or out


def together(at_once, work, calls):
    """What the work makes of each of these arguments, in their order. Whoever is ended by a signal does not wait for it."""
    pool = ThreadPoolExecutor(at_once)
    try:
        yield from pool.map(lambda call: work(*call), calls)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def rounds(trials, count, edges):
    """All borders over all edges; the tally of each border and target."""
    tallies = {}
    # Those that wait longest go first.
    ordered = sorted(BORDERS, key=lambda border: border.seconds != float("inf") or border.kind != "stall")
    calls = [(border, *edge, size, number) for border in ordered for number in range(count) for size in SIZES for edge in edges]
    for border, target, tally in together(AT_ONCE, trials.one, calls):
        into = tallies.setdefault((border, target), Tally())
        for name in ("runs", "hits", "at_once", "again", "unproven", "lost", "problems"):
            setattr(into, name, getattr(into, name) + getattr(tally, name))
    return tallies


def table(columns, rows):
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, *rows]:
        print("  ".join(str(cell).ljust(width) if i < 2 else str(cell).rjust(width) for i, (cell, width) in enumerate(zip(row, widths))))


def main(xpsync, bootstrap):
    count, often, seed = (int(os.environ.get(name, default)) for name, default in (("KILLS", 5), ("ROUNDS", 1), ("SEED", 1)))
    rows, passed, failed = [], 0, 0
    with Fleet() as fleet:
        for log in ("faults", *(f"kills-{what}-{name}" for what in ("cp", "bootstrap") for name in ("localstack", "radosgw"))):
            (fleet.logs / f"{log}.log").unlink(missing_ok=True)
        places = []
        for server in (fleet.localstack(), fleet.radosgw()):
            client = connect(server, fleet.ca)
            places.append(Place(server, client, able(server, fleet.ca)))
            for bucket in (FROM, TO, *KILLED.values()):
                make_bucket(client, server, bucket)
        localstack, radosgw = places
        at = lambda place, bucket: replace(place, bucket=bucket)
        command = Command(fleet.dir, fleet.ca, xpsync, [place.server for place in places])
        contents = Contents(fleet.dir / "contents")
        for size in SIZES:
            contents.get(size)

        if often:
            began = time.monotonic()
            edges = [(at(localstack, FROM), at(radosgw, TO)), (at(radosgw, FROM), at(localstack, TO))]
            for (border, name), tally in rounds(Rounds(command, contents, fleet, seed), often, edges).items():
                if not tally.hits:
                    tally.problems.append("no fault was met")
                held = not tally.problems
                passed, failed = passed + held, failed + (not held)
                rows.append((name, border.name, tally.runs, tally.hits, tally.at_once, tally.again, tally.unproven, tally.lost, len(tally.problems)))
            print(f"borders: {time.monotonic() - began:.0f} s\n", flush=True)
            table(("target", "border", "runs", "faults met", "copied in one run", "by the next", "others, and said unproven", "parts lost by the server", "differences"), rows)

        if count:
            began, sources = time.monotonic(), [at(localstack, FROM), at(radosgw, FROM)]
            seed_shapes(sources, contents)
            calls = [(what, command, bootstrap, fleet, at(place, bucket), sources, contents, count, seed) for place in places for what, bucket in KILLED.items()]
            found = list(together(len(calls), side, calls))
            print(f"\nkills: {time.monotonic() - began:.0f} s\n", flush=True)
            MB = lambda n: f"{n / 1e6:.0f} MB"
            table(("target", "what", "kills", "runs", "resumed", "whole already", "from scratch", "sent again", "bytes saved", "left open", "parts lost by the server",
                   "differences"),
                  [(r.server, r.what, r.kills, r.runs, r.resumed, r.whole, MB(r.scratch), MB(r.resent), MB(r.scratch - r.resent), r.left, r.lost, len(r.problems))
                   for r in found])
            for row in found:
                if row.resumed and row.resent >= row.scratch:
                    row.problems.append("no bytes were saved")
                held = not row.problems
                passed, failed = passed + held, failed + (not held)
        for place in places:
            left = [open for bucket in (TO, *KILLED.values()) for open in at(place, bucket).open_uploads()]
            passed, failed = passed + (not left), failed + bool(left)
            if left:
                print(f"FAIL {place.server.name}: uploads left open: {left}")
        print(f"\nlogs: {fleet.logs}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or not passed


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except BaseException as end:
        if isinstance(end, SystemExit) and isinstance(end.code, bool):
            raise
        # The servers are ended; threads may be waiting for what they had asked of them.
        traceback.print_exc()
        for pid in descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        os._exit(1)
