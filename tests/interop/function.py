"""The function's `bootstrap` as a process, and what AWS is to it: the Runtime API, Secrets Manager, and a queue that delivers.

The queue is SQS as far as its consumer sees it: what is not acknowledged comes again, what a killed sandbox had in hand comes again
when nothing else is there, as after a visibility timeout, and what the function sends is delivered in its turn. Delays are not waited for.
One message an invocation, one sandbox at a time.
"""
import hashlib, http.server, itertools, json, os, subprocess, threading, time
from collections import deque

REGION, ACCOUNT, QUEUE, GRAVE, SECRET = "cn-northwest-1", "111122223333", "events", "events-dead-letters", "target-keys"
# More than any invocation here needs; deadlines are other tests'.
SECONDS = 300


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return b"".join(pieces)

    def answer(self, status, value=b"", **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def listen(handle_get, handle_post):
    """A server on a free port of loopback; the functions get the handler."""
    members = {"do_GET": handle_get, "do_POST": handle_post}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), members))
    server.daemon_threads, server.handle_error = True, lambda *_: None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


class Queue:
    """`ready` goes first, `later` when nothing else is there; `held` is what a sandbox has in hand."""

    def __init__(self):
        self.changed, self.ids = threading.Condition(), itertools.count(1)
        self.ready, self.later, self.held = deque(), deque(), None
        self.sent, self.buried, self.answers = 0, [], []

    def put(self, body):
        with self.changed:
            self.ready.append({"id": f"m-{next(self.ids)}", "body": json.dumps(body), "receives": 0})
            self.changed.notify_all()

    def take(self, is_wanted):
        """The next message, in hand from now on; None once `is_wanted` says so."""
        with self.changed:
            while is_wanted():
                if self.held is None and (self.ready or self.later):
                    self.held = (self.ready or self.later).popleft()
                    self.held["receives"] += 1
                    return self.held
                self.changed.wait(0.1)

    def settle(self, is_done):
        with self.changed:
            if self.held and not is_done:
                self.later.append(self.held)
            self.held = None
            self.changed.notify_all()

    def is_drained(self):
        return not self.ready and not self.later and self.held is None


class Cloud:
    """Secrets Manager and SQS. Wants to see signatures made for the right service, and checks none."""

    def __init__(self, keys):
        self.queue, self.secret = Queue(), json.dumps({"aws_access_key_id": keys[0], "aws_secret_access_key": keys[1]})
        cloud = self

        def post(handler):
            body, target = handler.body(), handler.headers.get("x-amz-target", "")
            service = "secretsmanager" if target.startswith("secretsmanager.") else "sqs"
            if f"/{service}/aws4_request" not in handler.headers.get("authorization", ""):
                return handler.answer(400, {"__type": "MissingAuthenticationToken", "message": target})
            handler.answer(*cloud.called(target.partition(".")[2], json.loads(body)), content_type="application/x-amz-json-1.0")

        self.server = listen(lambda handler: handler.answer(404), post)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def called(self, operation, request):
        queue, arn = request.get("QueueUrl", "").rpartition("/")[2], f"arn:aws-cn:sqs:{REGION}:{ACCOUNT}:"
        if operation == "GetSecretValue":
            return 200, {"Name": request["SecretId"], "VersionId": "v" * 32, "SecretString": self.secret, "VersionStages": ["AWSCURRENT"]}
        if operation == "SendMessage":
            text = request["MessageBody"]
            if queue == GRAVE:
                self.queue.buried.append(text)
            else:
                self.queue.sent += 1
                self.queue.put(json.loads(text))
            return 200, {"MessageId": f"s-{self.queue.sent}", "MD5OfMessageBody": hashlib.md5(text.encode()).hexdigest()}
        if operation == "ChangeMessageVisibility":
            return 200, {}
        if operation == "GetQueueAttributes":
            return 200, {"Attributes": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn + GRAVE, "maxReceiveCount": "5"})}}
        return 400, {"__type": "UnsupportedOperation", "message": operation}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Sandbox:
    """One process and its Runtime API. What it leaves in its TMPDIR the next one finds."""

    def __init__(self, bootstrap, cloud, environment, log):
        self.queue, self.is_alive = cloud.queue, True
        sandbox = self

        def get(handler):
            message = sandbox.queue.take(lambda: sandbox.is_alive)
            if message is None:
                return handler.answer(500)
            record = {"messageId": message["id"], "receiptHandle": f"receipt-{message['id']}-{message['receives']}", "body": message["body"],
                      "attributes": {"ApproximateReceiveCount": str(message["receives"])}, "messageAttributes": {}, "eventSource": "aws:sqs",
                      "eventSourceARN": f"arn:aws-cn:sqs:{REGION}:{ACCOUNT}:{QUEUE}", "awsRegion": REGION}
            handler.answer(200, {"Records": [record]}, lambda_runtime_aws_request_id=message["id"],
                           lambda_runtime_deadline_ms=str(int((time.time() + SECONDS) * 1000)), lambda_runtime_trace_id="Root=1-0-0",
                           lambda_runtime_invoked_function_arn=f"arn:aws-cn:lambda:{REGION}:{ACCOUNT}:function:F")

        def post(handler):
            body, path = handler.body(), handler.path.split("/")
            if sandbox.is_alive:
                failures = json.loads(body).get("batchItemFailures") if path[-1] == "response" else None
                sandbox.queue.answers.append(body.decode())
                sandbox.queue.settle(failures == [])
            handler.answer(202, {"status": "OK"})

        self.api = listen(get, post)
        keys = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "F", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "SECRET_ID": SECRET, "AWS_ENDPOINT_URL_SECRETS_MANAGER": cloud.url,
                "AWS_ENDPOINT_URL_SQS": cloud.url, "PATH": os.environ["PATH"]}
        with open(log, "ab") as out:
            self.process = subprocess.Popen([bootstrap], env={**keys, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def kill(self):
        """Kill -9; what it had in hand comes again. False if it had ended by itself."""
        with self.queue.changed:
            self.is_alive, had_ended = False, self.process.poll() is not None
            self.process.kill()
            self.queue.changed.notify_all()
        self.process.wait()
        self.queue.settle(False)
        self.api.shutdown()
        self.api.server_close()
        return not had_ended
