"""docs/performance.md and its plots out of docs/performance.jsonl, and out of nothing else.

Of each tool in each row the runs of its newest version count, on the processor that it was last measured on: seconds
of one processor say nothing about those of another. A failed run stays in the table as one that failed.
"""
import json, pathlib, shlex, textwrap
from statistics import median

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

import rows

DOCS = pathlib.Path(__file__).resolve().parent.parent.parent / "docs"
RESULTS = DOCS / "performance.jsonl"
LOSS_PLOT, TIME_PLOT = "throughput-against-loss.png", "goodput-and-window.png"
COLOURS = {"xpsync": "#c2410c", "s5cmd-64": "#1d4ed8", "rclone-64": "#047857", "boto3": "#a16207"}
RATES = {"usual": 300, "evening": 200}  # Mbit/s, as in benches/border/link.rs
NAMES = {
    "xpsync": "**xpsync**", "xpsync-in-parts": "**xpsync**, an object of 8 MiB parts",
    "xpsync-handler": "**xpsync**, the function's handler",
    "xpsync-in-512MB": "**xpsync**, with the part budget of a function of 512 MB",
    "rclone": "rclone", "rclone-64": "rclone, 64 streams",
    "rclone-64-no-head": "rclone, 64 transfers, no HEAD after",
    "aws": "aws \\| aws", "aws-64": "aws \\| aws, 64 requests",
    "boto3": "boto3 through a file", "boto3-64": "boto3, 64 threads", "boto3-stream-64": "boto3 streaming, 64 threads",
    "s5cmd": "s5cmd cat \\| pipe", "s5cmd-64": "s5cmd cat \\| pipe, 64"}
SMALL_NAMES = {"rclone-64": "rclone, 64 transfers", "s5cmd": "s5cmd through files, 256 workers (its default)"}
TITLES = {
    "usual": "`usual`: 200 ms, 300 Mbit/s, 0.05 % of loss", "evening": "`evening`: 250 ms, 200 Mbit/s, 0.5 % of loss",
    "good": "`good`: 60 ms, 625 Mbit/s, 0.01 % of loss",
    "flaky": "`flaky`: as `usual`, with a reset every 4 s and 10 % of loss in one second of ten",
    "evening-4GiB": "`evening`, 4 GiB", "usual-512MB": "`usual` from a machine of 512 MB",
    "usual-bbr": "`usual` with BBR at both ends", "evening-bbr": "`evening` with BBR at both ends"}


# Measured by other means than these rows, or not a measurement.
HOW = """## How a copy uses the link

- Parts for which the window has room are *streamed*: they go straight from the source's GET into an UploadPart, with
  their checksum behind them. Buffers are for parts that are read ahead of the window, and for objects whose own ETag
  has to be computed from bytes in order.
- Whether the target takes a checksum behind a part is found out once for a session: by the first KiB of the last part,
  sent in its place before it, or in an object of fewer than 16 parts by one part. The others wait in buffers meanwhile,
  and have theirs in a header.
- One *schedule* for each side decides which request of all objects begins next: requests without object bytes first,
  then small objects and parts in turns, of the parts those of the object that was begun first.
- The *window*, how many requests are in flight to the target, follows what moves: it grows while goodput grows, and
  connections that get nothing make it smaller. `LOG_LEVEL=DEBUG` or `--log-level DEBUG` logs its changes.
- What has begun and has not landed is at most a minute's goodput, and before a deadline what a third of the time left
  carries, unless fewer connections were seen to carry less.
- A part has one copy in flight. One that stands still for 5 s while others move, or is late once nothing waits to be
  sent, is cancelled, and sent again on another connection (`hedges` in the report): for being late at most 3 % of an
  object's bytes, or one part.
- The MD5s of parts in buffers are computed up to sixteen at a time, in the lanes of vector instructions. No MD5 is
  computed where parts are sent as the source has them and the ETags of both sides prove them.

## Other figures

| what | figure | how it is known |
| --- | --- | --- |
| CPU of 1 GiB of one PUT, loopback | kernel 42 %, MD5 23 %, TLS 16 %, copying 6 %, CRC64NVME 5 % | 2026-11-26 |
| peak memory of 1 GiB, loopback | 33 MB all streamed; 100 MB with a memory limit of 64 MiB | 2026-11-23 |
| start of the function to its first request for an event | 1.6 ms, median of 50 | `tests/start.py`, 2026-11-25 |
| the function's zip | at most 2.5 MB | `tests/package.sh` fails above it |
| one small object, `usual` | 1.05 round trips when warm, 3.07 in a new sandbox | border bench `small`, 2026-11-28 |

The rows with a date alone were measured by hand, on 2 cores of AMD EPYC. The handler's row of small objects is 2,000
objects as queue messages, through 20 new sandboxes, in the template's batches of 10. Each object takes one request at
the target.

## Part buffers

A part for which the target's window has room does not wait: it is streamed. Slots hold parts that are read ahead of
the window, and parts of objects whose own checksum needs their bytes in order. 1 GiB over `usual` and `evening`,
single runs of 2026-11 on 2 cores, in slots of 5 MiB; the heap as a function of that memory has it. CPU is of
loopback, medians of three. The seconds were measured before the last parts of an object were sent together; since
then `usual` takes 32.0 to 33.2 s with 256 MiB of the heap.

| slots | `usual` | streamed of 205 | `evening` | RSS | CPU s/GiB |
| --- | --- | --- | --- | --- | --- |
| none | 37.2 s | 205 | 62.3 s | 42, 83 MB | 2.5 |
| heap, 128 MB: 16 MiB | 36.9 s | 197 | 66.1 s | 58, 95 MB | |
| heap, 512 MB: 208 MiB | 34.9 s | 116 | 62.5 s | 251, 282 MB | 1.5 |
| heap, 1,024 MB: 464 MiB | 35.4 s | 87 | | 440 MB | |
| heap, 2,048 MB: 976 MiB | 34.6 s | 89 | 68.3 s | 434, 346 MB | |
| /tmp, 460 MiB | 35.5 s | 128 | 68.5 s | 209, 240 MB; 68 MiB of the first without pages of the file | 1.7 |

A few slots save a twentieth of the time, and a third of the CPU, because the MD5s of parts in slots are computed
together. More than the window needs save nothing. /tmp costs a tenth more CPU than the heap and no time, and the
kernel can take back its pages.
"""


class Results:
    def __init__(self, lines):
        self.lines = lines

    def runs(self, row, tool):
        """Those of the newest version and its last processor, good and failed."""
        of = [l for l in self.lines if (l["row"], l["tool"]) == (row, tool)]
        what = lambda l: (l["version"], l["bytes"], processor(l))
        newest = [l for l in of if what(l) == what(of[-1])]
        return [l for l in newest if "error" not in l], [l for l in newest if "error" in l]

    def mid(self, row, tool, value):
        values = [v for v in map(value, self.runs(row, tool)[0]) if v is not None]
        return median(values) if values else None

    def is_beside(self, row, tool, own="xpsync"):
        """Whether the tool was measured on the processor that xpsync was."""
        return len({processor(l) for t in (tool, own) for l in self.runs(row, t)[0]}) == 1

    def paired(self, row, tool, value, own="xpsync"):
        """How many times the tool's value xpsync's newest version had in the rounds that have both."""
        theirs = {l["round"]: value(l) for l in self.lines
                  if (l["row"], l["tool"]) == (row, tool) and "error" not in l and "round" in l}
        ratios = [value(l) / theirs[l["round"]] for l in self.runs(row, own)[0] if l.get("round") in theirs]
        return median(ratios) if ratios else None


def processor(line):
    return line.get("machine", {}).get("cpu")


def mbit(line):
    return line["bytes"] * 8e-6 / line["seconds"]


def show(value, form="{:.0f}"):
    return "–" if value is None else form.format(value)


def size(runs):
    objects, total = runs[0]["objects"], runs[0]["bytes"]
    mib = total / objects / rows.MIB
    one = f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib:g} MiB" if mib >= 1 else f"{mib * 1024:g} KiB"
    return one if objects == 1 else f"{objects:,} × {one}"


def wrapped(text):
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def continued(command):
    """A command of a shell in lines of a readable length."""
    lines = textwrap.wrap(command, 116, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(lines)


def listed(items):
    return "\n".join(f"- {item}" for item in items)


def times(count):
    return "once" if count == 1 else f"{count} times"


def table(head, lines):
    return "\n".join("| " + " | ".join(l) + " |" for l in [head, ["---"] * len(head), *lines]) + "\n"


def failed(runs, errors):
    text = errors[-1]["error"].splitlines()[-1].replace("|", "\\|")
    return f"{len(errors)} of {len(errors) + len(runs)} runs failed: {text}"


def border_table(results, row):
    lines = []
    for tool in rows.ROWS[row].tools:
        runs, errors = results.runs(row, tool)
        if not runs and not errors:
            continue
        mid = lambda value: results.mid(row, tool, value)
        ours, theirs = results.mid(row, "xpsync", mbit), mid(mbit)
        ratio, paired = "", results.paired(row, tool, mbit)
        if not tool.startswith("xpsync") and ours and theirs:
            ratio = f"{ours / theirs:.1f}" + (f" ({paired:.1f})" if paired else "")
        name = NAMES[tool] + (f" — {failed(runs, errors)}" if errors else "")
        elsewhere = "" if results.is_beside(row, tool) else " *"
        lines.append([name, size(runs or errors), str(len(runs)), show(mid(lambda l: l["seconds"]), "{:.1f}"), show(theirs, "{:.1f}"),
                      show(mid(lambda l: l["share"] * 100), "{:.0f} %"), show(mid(lambda l: l["cpu"]), "{:.1f}") + elsewhere,
                      show(mid(lambda l: l["rss_mib"])), ratio])
    return table(["tool", "object", "runs", "seconds", "Mbit/s", "of the link", "CPU s per GiB", "peak MiB", "xpsync ÷ this (in one round)"], lines)


def peaks(results, row):
    """What a sandbox had at most."""
    runs = [l for tool in rows.ROWS[row].tools for l in results.runs(row, tool)[0] if "cgroup_mib" in l]
    if not runs:
        return ""
    most = lambda name: max(l[name] for l in runs)
    tcp_mem = " ".join(map(str, rows.IN_512_TCP_MEM))
    return "\n" + wrapped(
        f"The cgroup used at most {most('cgroup_mib')} MiB in any run, with sockets and page cache; its sockets used "
        f"{most('sockets_mib'):.1f} MiB. They were limited as on such a machine, and the client knew it "
        f"(`tcp_mem` {tcp_mem}). One thing was not imitated: from the second value on, a kernel begins to save socket "
        "memory. "
        f"xpsync had `--memory-limit {rows.IN_512_PARTS}`.") + "\n"


def other_servers(results):
    """The rows that were measured on servers that are not ours, and those of paths that nobody chose."""
    names = [(row, target, source) for row in ("usual", "evening", "loopback") for target in rows.TARGETS for source in rows.SOURCES]
    names = [(rows.full_name(*name), rows.ROWS[name[0]]) for name in names if name[1:] != ("embedded", "embedded")]
    names += [(rows.full_name(f"random-{seed}", target, "embedded"), rows.ROWS[f"random-{seed}"])
              for target in rows.TARGETS for seed in rows.SEEDS]
    lines = []
    for name, row in names:
        if not any(results.runs(name, "xpsync")):
            continue
        rates = {tool: results.mid(name, tool, mbit) for tool in row.tools}
        best = max((rate for tool, rate in rates.items() if rate and not tool.startswith("xpsync")), default=None)
        link = next((l["link"] for l in reversed(results.lines) if l["row"] == name and "link" in l), "no border")
        cells = []
        for tool in rows.BEST:
            runs, errors = results.runs(name, tool)
            cells.append(failed(runs, errors) if errors else show(rates.get(tool)) + (f" ({len(runs)})" if runs else ""))
        share = results.mid(name, "xpsync", lambda l: l.get("share") and l["share"] * 100)
        ratio = rates["xpsync"] / best if rates["xpsync"] and best else None
        lines.append([name, link, *cells, show(share, "{:.0f} %"), show(ratio, "{:.2f}")])
    if not lines:
        return ""
    head = ["row", "path", *(NAMES[tool] for tool in rows.BEST), "of the link", "xpsync ÷ the best of them"]
    return f"""## Servers that are not ours

Mbit/s, medians; in brackets the number of runs. radosgw is Ceph's, over an object store in memory; rclone is
`rclone serve s3`. Over a border they speak plain HTTP. What radosgw does for the first time only is done before.

{table(head, lines)}"""


def small_table(results):
    lines = []
    for tool in rows.ROWS["small"].tools:
        runs, errors = results.runs("small", tool)
        if not runs and not errors:
            lines.append([SMALL_NAMES.get(tool, NAMES[tool]), *["not measured yet"] * 2, *["–"] * 4])
            continue
        mid = lambda value: results.mid("small", tool, value)
        name = SMALL_NAMES.get(tool, NAMES[tool]) + (f" — {failed(runs, errors)}" if errors else "")
        cpu = mid(lambda l: (l["user"] + l["system"]) / l["objects"] * 1000 if "user" in l else None)
        lines.append([name, size(runs or errors), show(mid(lambda l: l["objects"] / l["seconds"])), str(len(runs)),
                      show(mid(lambda l: l["seconds"]), "{:.1f}"), show(cpu, "{:.1f}"), show(mid(lambda l: l.get("rss_mib")))])
    return table(["tool", "objects", "objects/s", "runs", "seconds", "CPU s per 1,000", "peak MiB"], lines)


def loopback_table(results):
    lines = []
    for tool in rows.ROWS["loopback"].tools:
        runs, errors = results.runs("loopback", tool)
        if not runs and not errors:
            continue
        mid = lambda value: results.mid("loopback", tool, value)
        cpu = lambda l: l["cpu"]
        needs = lambda own: results.mid("loopback", own, cpu) / mid(cpu) if results.is_beside("loopback", tool, own) else None
        beside = lambda own: results.paired("loopback", tool, cpu, own)
        is_peer = runs and not tool.startswith("xpsync")
        show_both = lambda own: show(needs(own), "{:.2f}") + (f" ({beside(own):.2f})" if beside(own) else "")
        ratio = " / ".join(map(show_both, ("xpsync", "xpsync-in-parts"))) if is_peer else ""
        name = NAMES[tool] + (f" — {failed(runs, errors)}" if errors else "")
        lines.append([name, size(runs or errors), str(len(runs)), show(mid(lambda l: l["cpu"]), "{:.2f}"),
                      show(mid(lambda l: l["user"] / l["bytes"] * (1 << 30)), "{:.2f}"),
                      show(mid(lambda l: l["system"] / l["bytes"] * (1 << 30)), "{:.2f}"), show(mid(lambda l: l["rss_mib"])), ratio])
    return table(["tool", "object", "runs", "CPU s per GiB", "user", "system", "peak MiB", "xpsync's CPU ÷ this: one PUT / 8 MiB parts"], lines)


def command_lines():
    place = rows.Place("xpsync", "", "s5cmd", "benches/peers", "F", "T", "SOURCE", "TARGET")
    for row, tools in (("usual", rows.ROWS["usual"].tools), ("small", rows.ROWS["small"].tools)):
        for tool in (t for t in tools if t not in rows.ELSEWHERE):
            objects, each, key = rows.ROWS[row].what(tool, 1)
            steps = rows.commands(tool, place, objects, each, key if objects > 1 else "KEY", "TO")
            steps = [" | ".join(shlex.join(command) for _, command in step) for step in steps]
            yield " && ".join(steps).replace("/rclone", "rclone", 1).replace("/aws", "aws").replace("/python", "python").replace("'", "")


def style(axes):
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def plot_loss(results):
    figure, axes = plt.subplots(figsize=(8, 4), dpi=160)
    axes.axhline(RATES["usual"], color="#737373", linewidth=1, linestyle=(0, (4, 3)))
    axes.text(0, RATES["usual"] + 4, "the link", color="#737373", fontsize=9)
    last = len(rows.LOSSES) - 1
    for tool in rows.OVER_LOSS:
        points = [(x, results.mid(f"loss-{loss}", tool, mbit)) for x, loss in enumerate(rows.LOSSES)]
        points = [(x, y) for x, y in points if y is not None]
        if points:
            axes.plot(*zip(*points), color=COLOURS[tool], linewidth=2.2, marker="o", markersize=5, clip_on=False,
                      label=NAMES[tool].replace("*", "").replace("\\|", "|") + ("" if "-" in tool else ", defaults"))
    axes.set_xticks(range(last + 1), [f"{loss} %" for loss in rows.LOSSES])
    axes.set_ylim(0, 325)
    axes.set_xlabel("packets lost (200 ms round trip, CUBIC)")
    axes.set_ylabel("Mbit/s of one object")
    axes.legend(frameon=False, loc="lower left")
    style(axes)
    figure.tight_layout()
    figure.savefig(DOCS / LOSS_PLOT)


def plot_time(run):
    line, profile = run["timeline"], run["border"].split("=")[-1]
    change = float(run["border"].split("--then ")[1].split("s=")[0]) - line["zero"]
    end = run["seconds"]
    figure, (top, bottom) = plt.subplots(2, figsize=(8, 4.8), dpi=160, sharex=True, height_ratios=[3, 2])
    seconds = [s + 0.5 for s in range(len(line["mbit"])) if s < end]
    top.fill_between(seconds, line["mbit"][:len(seconds)], color=COLOURS["xpsync"], alpha=0.18, linewidth=0)
    top.plot(seconds, line["mbit"][:len(seconds)], color=COLOURS["xpsync"], linewidth=1.8)
    top.step([0, change, end], [RATES["usual"], RATES[profile], RATES[profile]], where="post", color="#737373", linewidth=1, linestyle=(0, (4, 3)))
    top.text(0.5, RATES["usual"] + 6, "the link: usual", color="#737373", fontsize=9)
    top.text(end, RATES[profile] + 6, f"the link: {profile}", color="#737373", fontsize=9, ha="right")
    top.set_ylim(0, 345)
    top.set_ylabel("Mbit/s delivered")
    times, sizes = [w[0] for w in line["windows"]], [w[1] for w in line["windows"]]
    if times:
        bottom.step([*times, end], [*sizes, sizes[-1]], where="post", color="#404040", linewidth=1.8)
    bottom.set_ylim(0, max(sizes, default=1) * 1.15)
    bottom.set_ylabel("window, requests")
    bottom.set_xlabel("seconds since the start")
    bottom.set_xlim(0, end)
    for axes in (top, bottom):
        axes.axvline(change, color="#a3a3a3", linewidth=1)
        style(axes)
    figure.tight_layout()
    figure.savefig(DOCS / TIME_PLOT)


def main():
    lines = [json.loads(l) for l in RESULTS.read_text().splitlines()]
    results = Results(lines)
    plot_loss(results)
    used = [l for row, tool in sorted({(l["row"], l["tool"]) for l in lines}) for l in sum(results.runs(row, tool), [])]
    dates = sorted({l["date"] for l in used})
    versions = {}
    for l in used:
        versions.setdefault(l["tool"].partition("-")[0], set()).add(l["version"])
    machines = sorted({f"{m['cores']} cores of {m['cpu']}, {m['memory_gib']} GiB, Linux {m['kernel']}" for m in (l["machine"] for l in used if "machine" in l)})
    said = "; ".join(f"{tool} {', '.join(sorted(v))}" for tool, v in sorted(versions.items()))
    parts = [f"""\
# Performance

How fast xpsync copies, beside other tools at the best settings known, and how it does it.

`benches/peers.sh write` makes this page from [performance.jsonl](performance.jsonl), one line for each run. Every
figure comes from there, except those below "Other figures".

{wrapped(f"Measured {' to '.join(sorted({dates[0], dates[-1]}))} on these machines:")}

{listed(machines)}

{wrapped(f"Versions (of xpsync the commit): {said}.")}

## How to read the tables

- Each tool copies one object over TLS, from one embedded server of this project to another on the same machine.
- Between client and target is the relay of `benches/border`, with the kernel's own TCP at both ends: CUBIC, and a
  client that may not use BBR, unless the row says so.
- Relay, servers and client share the cores, with other work at the lowest priority. So seconds at `good` and on
  loopback are those of this machine.
- Figures are medians. Each line of performance.jsonl also has the share of the cores that other work took (`niced`) and
  left (`idle`).
- CPU is user and system time of the client's processes alone. Peak memory is theirs too; of a pipe it is the sum of
  both. That of xpsync includes the parts that are read ahead.
- A `*` behind the CPU: this tool was measured on another processor than xpsync in that row. Compare its share of the
  link, not its CPU.
- Tools that would take more than about four minutes copy a smaller object, with enough parts for all their
  connections: compare the share of the link. `rclone` then gets `--multi-thread-cutoff 8M --s3-upload-cutoff 8M`, so
  that it treats the object as it treats 1 GiB by default.
- The source has the object from one PUT, or where the row says so from parts of 8 MiB, as the AWS CLI uploads it. To
  the other tools that makes no difference.
- The figures of xpsync are of the commits named above. How it sends parts was rebuilt after them, see "How a copy uses
  the link", and they have not been measured again.
- xpsync is at its defaults unless the row says otherwise. It proves each object by ETag and CRC64NVME; the other tools
  make their own checks.
- The last column is xpsync's Mbit/s divided by the tool's, by medians; on loopback it is xpsync's CPU divided by the
  tool's. In brackets: the same, of the rounds in which both ran one after the other, if there were any.
"""]
    for row, title in TITLES.items():
        if any(l["row"] == row for l in lines):
            parts.append(f"## {title}\n\n{border_table(results, row)}{peaks(results, row)}")
    if others := other_servers(results):
        parts.append(others)
    parts.append(f"## Many small objects over `usual`\n\n{small_table(results)}")
    parts.append(f"## CPU on loopback, TLS on both sides\n\n{loopback_table(results)}")
    over = [t for t in rows.OVER_LOSS if any(l["tool"] == t and l["row"].startswith("loss-") for l in lines)]
    losses = [[f"{loss} %", *(show(results.mid(f"loss-{loss}", tool, mbit)) + f" ({len(results.runs(f'loss-{loss}', tool)[0])})" for tool in over)]
              for loss in rows.LOSSES]
    sizes = ", ".join(f"{size} MiB for {NAMES[t]}" for t, size in rows.ROWS["loss-0"].sizes.items() if t in over)
    parts.append(f"""## Throughput against loss: 200 ms, 300 Mbit/s

![throughput against loss]({LOSS_PLOT})

Mbit/s of one object of {rows.ROWS['loss-0'].size} MiB{sizes and ', ' + sizes}. In brackets: the number of runs.

{table(['loss', *(NAMES[t] for t in over)], losses)}""")
    changed, _ = results.runs("change", "xpsync")
    if changed:
        run = changed[-1]
        plot_time(run)
        parts.append(f"""## When the path changes: `{run['border']}`

![goodput and window over time]({TIME_PLOT})

One run of {size([run])}, {run['seconds']:.0f} s. Delivered is what arrived at the far end in each second, with headers
and repeated bytes. The window is how many requests may be under way at the target. It changed
{times(len(run['timeline']['windows']))}.
""")
    parts.append(HOW)
    lines = "\n".join(map(continued, command_lines()))
    parts.append(f"""## Commands

```
benches/peers.sh                                     # all rows; needs root; hours
benches/peers.sh --profile usual --only xpsync       # one row, one tool; takes the place of its older versions
benches/peers.sh write                               # this page
```

These commands run, with profiles, keys and certificates in files and variables. aws with 64 requests has
`max_concurrent_requests = 64`, `multipart_chunksize = 5MB` and `max_queue_size = 10000` in its profile.
[objects.py](../benches/peers/objects.py) has what boto3 does.

```
{lines}
```
""")
    (DOCS / "performance.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
