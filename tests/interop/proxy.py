"""A TCP proxy on loopback that counts, slows, cuts, stalls and corrupts, by a seeded script.

Bytes pass as they are, TLS too; only corruption looks into them, for it flips bits of objects and of nothing else: what is around an
object, heads and XML, no checksum of S3 protects, and TLS is there for it. So corruption is for plain HTTP. Knows nothing of S3 but
which bodies are objects'.
"""
import asyncio, heapq, math, random, socket, struct, threading
from collections import deque
from dataclasses import dataclass

PIECE = 128 << 10


@dataclass(frozen=True)
class Fault:
    """`kind` is cut, stall or flip; `way` is up (to the server) or down; it happens after `at` bytes of that way, of objects for a flip."""
    kind: str
    way: str
    at: int
    seconds: float = math.inf
    bit: int = 0


class Script:
    """Which connection meets what: of the seed and the connection's number alone. At most `most` faults, so that a copy can come through."""

    def __init__(self, seed, kind, way, span, chance=1.0, most=math.inf, seconds=math.inf):
        self.seed, self.kind, self.way, self.span, self.chance, self.most, self.seconds = seed, kind, way, span, chance, most, seconds

    def fault(self, number):
        rng = random.Random(f"{self.seed}/{self.kind}/{self.way}/{number}")
        if rng.random() >= self.chance:
            return None
        # As many in the first bytes as in the last million: heads are as worth cutting as bodies.
        at = rng.randrange(self.span) if self.kind == "flip" else int(2 ** rng.uniform(0, math.log2(self.span))) - 1
        return Fault(self.kind, self.way, at, self.seconds, 1 << rng.randrange(8))


class Bodies:
    """The object bytes in the two streams of one HTTP/1.1 connection. Replies are read by the methods of the requests before them."""

    def __init__(self, way, methods):
        self.way, self.methods = way, methods
        self.head, self.left, self.is_object, self.chunked = b"", 0, False, False

    def spans(self, data):
        """The parts of this piece that are object bytes, as (start, end)."""
        at, found = 0, []
        while at < len(data):
            if self.left:
                end = min(len(data), at + self.left)
                if self.is_object:
                    found.append((at, end))
                self.left -= end - at
                at = end
                continue
            # A head, or the line before a chunk: all of it is needed, and it ends where the bytes behind it begin.
            self.head += data[at:at + 1]
            at += 1
            if self.chunked and self.head.endswith(b"\r\n") and self.head != b"\r\n":
                # Its bytes and the line's end behind them; of a last chunk, the empty line that ends the trailers.
                size = int(self.head.split(b";")[0], 16)
                self.left, self.chunked, self.head = size + 2, size > 0, b""
            elif self.head.endswith(b"\r\n\r\n"):
                self._begin(self.head.decode("latin-1"))
                self.head = b""
        return found

    def _begin(self, head):
        first, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.left = int(fields.get("content-length", 0))
        self.chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        if self.way == "up":
            method = first.split()[0]
            self.methods.append(method)
            self.is_object = method == "PUT" and "?tagging" not in first
            return
        status = int(first.split()[1])
        if status < 200:
            self.left = 0
            return
        method = self.methods.popleft()
        if method == "HEAD" or status in (204, 304):
            self.left, self.chunked = 0, False
        self.is_object = method == "GET" and status in (200, 206) and "xml" not in fields.get("content-type", "")


class Connection:
    def __init__(self, number, fault):
        self.number, methods = number, deque()
        self.fault, self.hit, self.up, self.down = fault, False, 0, 0
        self.bodies = {way: Bodies(way, methods) for way in ("up", "down")}
        self.seen = {"up": 0, "down": 0}


class Cut(Exception):
    """This connection is to be reset."""


class Proxy:
    """One address in front of one server.

    `rate` limits the bytes a second of all that goes up. Older connections go first, so that parts that began together do not end together.
    """

    def __init__(self, port, script=None, rate=None):
        self.upstream, self.script, self.rate = ("127.0.0.1", port), script, rate
        self.connections, self.hits, self.waiting = [], 0, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def heal(self):
        """From now on, new connections meet nothing."""
        self.script = None

    def sent_since(self, connection):
        """Bytes that went up on that connection and later ones."""
        return sum(c.up for c in self.connections[connection:])

    def close(self):
        self.loop.call_soon_threadsafe(self.main.cancel)
        self.thread.join()

    def _run(self):
        self.main = self.loop.create_task(self._listen())
        if self.rate:
            self.came = asyncio.Event()
            self.loop.create_task(self._pace())
        try:
            self.loop.run_until_complete(self.main)
        except asyncio.CancelledError:
            pass
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        self.listener.close()
        self.loop.close()

    async def _listen(self):
        tasks = set()
        while True:
            client, _ = await self.loop.sock_accept(self.listener)
            script, number = self.script, len(self.connections)
            fault = script.fault(number) if script and self.hits < script.most else None
            self.connections.append(Connection(number, fault))
            task = self.loop.create_task(self._serve(client, self.connections[-1]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _serve(self, client, connection):
        server = socket.socket()
        pumps = []
        try:
            for s in (client, server):
                s.setblocking(False)
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.loop.sock_connect(server, self.upstream)
            pumps = [self.loop.create_task(self._pump(connection, "up", client, server)),
                     self.loop.create_task(self._pump(connection, "down", server, client))]
            await asyncio.gather(*pumps)
        except (Cut, OSError):
            # Both ends hear of it at once, as of a reset.
            for s in (client, server):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            client.close()
            server.close()

    async def _pump(self, connection, way, source, sink):
        fault = connection.fault if connection.fault and connection.fault.way == way else None
        corrupts = connection.fault and connection.fault.kind == "flip"
        while data := await self.loop.sock_recv(source, PIECE):
            if corrupts:
                data = self._flipped(connection, way, fault, data)
            elif fault and not connection.hit and connection.seen[way] + len(data) > fault.at and self._may(connection):
                before = data[:fault.at - connection.seen[way]]
                await self._send(connection, way, sink, before)
                if fault.kind == "cut":
                    raise Cut
                await asyncio.sleep(min(fault.seconds, 3600))
                data = data[len(before):]
            await self._send(connection, way, sink, data)
        sink.shutdown(socket.SHUT_WR)

    def _may(self, connection):
        """Counts a fault where the script allows one more; connections that are open already may be more than it has left."""
        if not self.script or self.hits >= self.script.most:
            return False
        self.hits, connection.hit = self.hits + 1, True
        return True

    def _flipped(self, connection, way, fault, data):
        for start, end in connection.bodies[way].spans(data):
            if not fault or connection.hit:
                continue
            offset = fault.at - connection.seen[way]
            connection.seen[way] += end - start
            if offset < end - start and self._may(connection):
                data = data[:start + offset] + bytes([data[start + offset] ^ fault.bit]) + data[start + offset + 1:]
        return data

    async def _send(self, connection, way, sink, data):
        if not connection.fault or connection.fault.kind != "flip":
            connection.seen[way] += len(data)
        if way == "up":
            connection.up += len(data)
            if self.rate:
                turn = self.loop.create_future()
                heapq.heappush(self.waiting, (connection.number, len(data), turn))
                self.came.set()
                await turn
        else:
            connection.down += len(data)
        await self.loop.sock_sendall(sink, data)

    async def _pace(self):
        free_at = 0.0
        while True:
            await self.came.wait()
            _, length, turn = heapq.heappop(self.waiting)
            if not self.waiting:
                self.came.clear()
            if turn.done():
                continue
            free_at = max(free_at, self.loop.time()) + length / self.rate
            await asyncio.sleep(free_at - self.loop.time())
            if not turn.done():
                turn.set_result(None)
