"""One invocation under AWS's Runtime Interface Emulator: rie.py EMULATOR BOOTSTRAP PAYLOAD TIMEOUT_SECONDS.

The answer goes to stdout, what emulator and function log to stderr. The emulator's own time limit is the function's, so the deadline
that the function is told is the one it is held to. Both are ended, by pid, on every way out.
"""
import http.client, os, pathlib, signal, subprocess, sys, time
from servers import descendants, free_ports

emulator, bootstrap, payload, timeout = sys.argv[1:]
outer, inner = free_ports(2)
environment = {**os.environ, "AWS_LAMBDA_FUNCTION_TIMEOUT": timeout}
environment.setdefault("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
process = subprocess.Popen([emulator, "--runtime-interface-emulator-address", f"127.0.0.1:{outer}", "--runtime-api-address", f"127.0.0.1:{inner}", bootstrap],
                           env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, cwd=pathlib.Path(bootstrap).parent)
signal.signal(signal.SIGTERM, lambda n, _: sys.exit(128 + n))
try:
    for _ in range(100):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", outer, timeout=int(timeout) + 15)
            connection.connect()
            break
        except ConnectionRefusedError:
            if process.poll() is not None:
                sys.exit(f"the emulator ended with status {process.returncode}")
            time.sleep(0.1)
    else:
        sys.exit("the emulator did not come up")
    connection.request("POST", "/2015-03-31/functions/function/invocations", pathlib.Path(payload).read_bytes())
    reply = connection.getresponse()
    answer = reply.read().decode(errors="replace")
    print(answer)
    if reply.status != 200 or answer.startswith("Task timed out after"):
        sys.exit(f"no answer of the function: status {reply.status}")
finally:
    started = descendants(process.pid)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
