"""How long from the start of the process to its first request for an event: start.py BOOTSTRAP [STARTS] [MOST_MS].

Prints the median, the fastest and the slowest of STARTS (50). With MOST_MS: exit status 1 if the median is more. Needs a quiet machine to
mean anything; every process is killed, by pid, once it has asked.
"""
import os, signal, socket, statistics, sys, time

bootstrap = os.path.realpath(sys.argv[1])
starts = int(sys.argv[2]) if len(sys.argv) > 2 else 50
most = float(sys.argv[3]) if len(sys.argv) > 3 else None
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(10)
environment = {
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % listener.getsockname()[1], "AWS_LAMBDA_FUNCTION_NAME": "start", "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "example",
    "SOURCE_REGION": "cn-northwest-1", "SOURCE_BUCKET": "source", "TARGET_REGION": "us-west-2", "TARGET_BUCKET": "target", "SECRET_ID": "secret"}
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
took = []
for _ in range(starts):
    began = time.perf_counter()
    pid = os.posix_spawn(bootstrap, [bootstrap], environment, file_actions=quiet)
    try:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            head = connection.recv(4096)
            took.append((time.perf_counter() - began) * 1e3)
            if not head.startswith(b"GET /2018-06-01/runtime/invocation/next "):
                sys.exit(f"not a request for an event: {head[:60]!r}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
median = statistics.median(took)
print(f"first request for an event after {median:.1f} ms, median of {starts} starts ({min(took):.1f} to {max(took):.1f})")
if most is not None and median > most:
    sys.exit(f"more than {most} ms")
