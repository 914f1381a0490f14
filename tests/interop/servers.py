"""S3 servers that this project did not write, each on free loopback ports, each ended by pid.

Owns: starting, waiting for and ending processes; certificates; where each server keeps its files. Knows nothing of what is
tested on them. A server is a value with `name`, `url`, `region`, `access_key`, `secret_key`, and `plain` where it has an address
without TLS beside that; `Fleet` holds all processes and
ends them, and what they started, on leaving its `with` block and on SIGTERM.
"""
import os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time, uuid
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("XPSYNC_INTEROP_CACHE") or ROOT / "target" / "interop").resolve()
ACCESS_KEY, SECRET_KEY = "AKIDINTEROP0000000%s", "secret/interop+%s"


@dataclass(frozen=True)
class Server:
    name: str
    url: str
    region: str
    access_key: str
    secret_key: str
    plain: str = ""


def free_ports(count):
    """Ports that were free a moment ago. All are held open together, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for s in held:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def descendants(pid):
    """The processes below `pid`, deepest last. Emulators start functions in sessions of their own, so a process group is not enough."""
    below = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


class Fleet:
    def __init__(self, logs=None, where=(), address="127.0.0.1"):
        """`where` stands before each command (`ip netns exec NAME`); servers listen at the address."""
        self.where, self.address = list(where), address
        CACHE.mkdir(parents=True, exist_ok=True)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        self.logs = pathlib.Path(logs or CACHE / "logs")
        self.logs.mkdir(parents=True, exist_ok=True)
        self.processes = []
        self.ca = self.dir / "ca.pem"
        self._certificates()

    def __enter__(self):
        # A signal becomes an exception, so that __exit__ runs for it as for anything else.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda n, _: sys.exit(128 + n))
        return self

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        alive = {}
        for process in self.processes:
            if process.poll() is None:
                alive[process.pid] = descendants(process.pid)
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + 5
        for process in self.processes:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for children in alive.values():
            for pid in children:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- processes

    def spawn(self, name, argv, env=None, stdout=None):
        log = open(self.logs / f"{name}.log", "wb")
        process = subprocess.Popen([*self.where, *(str(a) for a in argv)], stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log if stdout else subprocess.STDOUT,
                                   env={**os.environ, **(env or {})}, cwd=self.dir)
        log.close()
        self.processes.append(process)
        return process

    def wait_port(self, name, process, port, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                break
            if self.accepts(port):
                return
            time.sleep(0.1)
        tail = (self.logs / f"{name}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{name} did not come up on port {port} (status {process.poll()}):\n{tail}")

    def accepts(self, port):
        if self.where:
            look = f"import socket; socket.create_connection(('127.0.0.1', {port}), 0.5)"
            return subprocess.run([*self.where, sys.executable, "-c", look], stderr=subprocess.DEVNULL).returncode == 0
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return True
        except OSError:
            return False

    def tool(self, *argv, **more):
        done = subprocess.run([*self.where, *(str(a) for a in argv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.dir, **more)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, argv))}: status {done.returncode}\n{done.stdout}")
        return done.stdout

    # -- trust

    def _certificates(self):
        """An authority of our own and one leaf for all servers; it is not the CA itself, which rustls would refuse."""
        self.cert, self.key = self.dir / "leaf.pem", self.dir / "leaf.key"
        (self.dir / "leaf.ext").write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self.tool("openssl", "req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=interop authority",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.tool("openssl", "req", *ec, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=localhost")
        self.tool("openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                  "-extfile", "leaf.ext", "-out", "leaf.pem")

    # -- servers

    def rclone(self, program=CACHE / "s3/bin/rclone", root=None, tls=True):
        (port,) = free_ports(1)
        root = root or self.dir / "rclone"
        root.mkdir(exist_ok=True)
        ak, sk = ACCESS_KEY % 1, SECRET_KEY % 1
        process = self.spawn("rclone", [program, "serve", "s3", root, "--addr", f"{self.address}:{port}", "--auth-key", f"{ak},{sk}",
                                        "--vfs-cache-mode", "off", "--config", "/dev/null", *(("--cert", self.cert, "--key", self.key) if tls else ())])
        self.wait_port("rclone", process, port)
        return Server("rclone", f"http{'s' if tls else ''}://127.0.0.1:{port}", "cn-north-1", ak, sk)

    def localstack(self, **env):
        (port,) = free_ports(1)
        root = self.dir / "localstack"
        root.mkdir()
        process = self.spawn("localstack", [CACHE / "localstack/bin/python", HERE / "local_aws.py"],
                             {"GATEWAY_LISTEN": f"127.0.0.1:{port}", "EDGE_PORT": str(port), "FILESYSTEM_ROOT": str(root), "TMPDIR": str(self.dir),
                              "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1", "ALLOW_NONSTANDARD_REGIONS": "1",
                              "LAMBDA_LOGS": str(self.logs), **env})
        self.wait_port("localstack", process, port, 120)
        return Server("localstack", f"http://127.0.0.1:{port}", "cn-northwest-1", ACCESS_KEY % 2, SECRET_KEY % 2)

    def moto(self):
        (port,) = free_ports(1)
        process = self.spawn("moto", [CACHE / "s3/bin/moto_server", "-H", "127.0.0.1", "-p", port, "-s", "-c", self.cert, "-k", self.key],
                             {"TMPDIR": str(self.dir)})
        self.wait_port("moto", process, port)
        return Server("moto", f"https://127.0.0.1:{port}", "us-west-2", ACCESS_KEY % 3, SECRET_KEY % 3)

    def radosgw(self):
        """One monitor, one object store in memory, one gateway. What was deleted leaves the memory at once, not after Ceph's two hours."""
        d = self.dir / "ceph"
        for sub in ("mon", "osd0", "run", "log"):
            (d / sub).mkdir(parents=True)
        v2, v1, port, tls = free_ports(4)
        ak, sk, fsid, osd = ACCESS_KEY % 4, SECRET_KEY % 4, uuid.uuid4(), uuid.uuid4()
        classes = next((p for p in pathlib.Path("/usr/lib").glob("*/rados-classes")), "/usr/lib/rados-classes")
        pem = d / "leaf-and-key.pem"
        pem.write_text(self.cert.read_text() + self.key.read_text())
        (d / "ceph.conf").write_text(f"""[global]
keyring = {d}/admin.keyring
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
mon allow pool size one = true
mon warn on pool no redundancy = false
osd crush chooseleaf type = 0
run dir = {d}/run
log file = {d}/log/$name.log
admin socket = {d}/run/$name.asok
pid file = {d}/run/$name.pid
ms bind ipv6 = false
public network = 127.0.0.0/8
[mon.a]
keyring = {d}/mon/keyring
mon data avail warn = 1
mon data avail crit = 1
mon data = {d}/mon
[osd]
keyring = {d}/osd0/keyring
osd data = {d}/osd0
osd objectstore = memstore
memstore device bytes = 6442450944
osd class dir = {classes}
[client.rgw.a]
keyring = {d}/rgw.keyring
rgw frontends = beast endpoint={self.address}:{port} tcp_nodelay=1 ssl_endpoint=127.0.0.1:{tls} ssl_certificate={pem} ssl_private_key={pem}
rgw thread pool size = 64
rgw dynamic resharding = false
rgw gc obj min wait = 5
rgw gc processor period = 5
""")
        conf = d / "ceph.conf"
        env = {**os.environ, "CEPH_CONF": str(conf)}
        run = lambda *argv: self.tool(*argv, env=env)
        run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]", d / "monmap")
        run("ceph-authtool", "-C", d / "admin.keyring", "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *",
            "--cap", "mgr", "allow *", "--cap", "mds", "allow *")
        run("ceph-authtool", "-C", d / "mon.keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        run("ceph-authtool", d / "mon.keyring", "--import-keyring", d / "admin.keyring")
        run("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", d / "monmap", "--keyring", d / "mon.keyring")
        mon = self.spawn("ceph-mon", ["ceph-mon", "-c", conf, "-i", "a", "-f"])
        self.wait_port("ceph-mon", mon, v1)
        run("ceph", "-c", conf, "--connect-timeout", "60", "config", "set", "mon", "auth_allow_insecure_global_id_reclaim", "false")
        run("ceph", "-c", conf, "osd", "new", osd)
        run("ceph", "-c", conf, "auth", "get-or-create", "osd.0", "mon", "allow profile osd", "osd", "allow *", "-o", d / "osd0/keyring")
        run("ceph", "-c", conf, "auth", "get-or-create", "client.rgw.a", "mon", "allow *", "osd", "allow *", "-o", d / "rgw.keyring")
        run("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.spawn("ceph-osd", ["ceph-osd", "-c", conf, "-i", "0", "-f"])
        end = time.monotonic() + 60
        while "1 up" not in run("ceph", "-c", conf, "osd", "stat"):
            if time.monotonic() > end:
                raise SystemExit("ceph-osd did not come up")
            time.sleep(0.3)
        run("radosgw-admin", "-c", conf, "user", "create", "--uid=test", "--display-name=t", f"--access-key={ak}", f"--secret={sk}")
        gateway = self.spawn("radosgw", ["radosgw", "-c", conf, "-n", "client.rgw.a", "-f"])
        self.wait_port("radosgw", gateway, tls)
        return Server("radosgw", f"https://127.0.0.1:{tls}", "us-east-1", ak, sk, f"http://127.0.0.1:{port}")

    def embedded(self, argv):
        """This project's own server; it makes its authority itself, which joins the bundle."""
        (port,) = free_ports(1)
        ak, sk, region, ca = ACCESS_KEY % 5, SECRET_KEY % 5, "eu-central-1", self.dir / "embedded-ca.pem"
        process = self.spawn("embedded", [*argv, "--port", port, "--access-key", ak, "--secret-key", sk, "--region", region, "--ca", ca],
                             stdout=subprocess.PIPE)
        line = process.stdout.readline().decode().split()
        if len(line) != 2 or line[0] != "ready":
            raise SystemExit(f"embedded: no ready line: {line}, see {self.logs}/embedded.log")
        with open(self.ca, "a") as bundle:
            bundle.write(ca.read_text())
        return Server("embedded", line[1], region, ak, sk)
