"""template.yaml deployed and used: deploy.py TEMPLATE ZIP.

The template is deployed unchanged. Only afterwards the emulator's addresses are added to the function's environment, since the
template has no parameters for what AWS does not need. Prints each check; exit status 1 if one failed.
"""
import hashlib, json, pathlib, sys, time, zipfile
import boto3, botocore.exceptions
from botocore.config import Config
from servers import Fleet

REGION, OTHER, TARGET_REGION = "cn-northwest-1", "cn-north-1", "us-west-2"
STACK, SOURCE, TARGET, CODE = "sync", "source-bucket", "target-bucket", "code-bucket"
KEY_ID, SECRET = "AKIDTARGETUSER000001", "target/user+secret="
passed = failed = 0


def check(what, holds, detail=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok  ' if holds else 'FAIL'} {what}" + (f": {detail}" if detail != "" and not holds else ""), flush=True)
    return holds


def until(seconds, probe):
    """The first true value of `probe`, or its last one when the time is over. An emulator tells nobody when it is done."""
    end = time.monotonic() + seconds
    while not (value := probe()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


def machine(path):
    """The Architecture that the zip's bootstrap is built for; a script runs anywhere."""
    with zipfile.ZipFile(path) as z:
        head = z.read("bootstrap")[:20]
    return "arm64" if head[:4] == b"\x7fELF" and head[18] == 0xB7 else "x86_64"


def main(template, code):
    with Fleet() as fleet:
        server = fleet.localstack(LAMBDA_IGNORE_ARCHITECTURE="1")
        connect = lambda service, region=REGION: boto3.client(
            service, region_name=region, endpoint_url=server.url, aws_access_key_id="test", aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 1}, read_timeout=120, s3={"addressing_style": "path"}))
        s3, target, sqs, function = connect("s3"), connect("s3", TARGET_REGION), connect("sqs"), connect("lambda")
        where = lambda region: {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=SOURCE, **where(REGION))
        s3.create_bucket(Bucket=CODE, **where(REGION))
        target.create_bucket(Bucket=TARGET, **where(TARGET_REGION))
        s3.put_bucket_notification_configuration(Bucket=SOURCE, NotificationConfiguration={"EventBridgeConfiguration": {}})
        s3.upload_file(code, CODE, "bootstrap.zip")
        parameters = {"SourceBucketName": SOURCE, "TargetBucketName": TARGET, "TargetAccessKeyId": KEY_ID, "TargetSecretAccessKey": SECRET,
                      "CodeS3Bucket": CODE, "CodeS3Key": "bootstrap.zip", "Architecture": machine(code), "LogLevel": "DEBUG"}
        deployed(connect, template, parameters)
        outputs = stack_outputs(connect, template, parameters)
        if outputs is None:
            return
        resources(connect, outputs)
        environment = function.get_function_configuration(FunctionName=outputs["LambdaFunctionName"])["Environment"]["Variables"]
        function.update_function_configuration(FunctionName=outputs["LambdaFunctionName"], Environment={"Variables": {
            **environment, "SOURCE_ENDPOINT_URL": server.url, "TARGET_ENDPOINT_URL": server.url, "AWS_ENDPOINT_URL_SECRETS_MANAGER": server.url,
            "AWS_ENDPOINT_URL_SQS": server.url}})
        function.get_waiter("function_updated_v2").wait(FunctionName=outputs["LambdaFunctionName"])
        objects(s3, target, sqs, function, outputs)
        print(f"logs of the function: {fleet.logs}/lambda-*.log")
        taken_down(connect)


def deployed(connect, template, parameters):
    """What the template refuses. The emulator does not evaluate Rules: that is asserted, so that the day it does is noticed."""
    cloudformation = connect("cloudformation", OTHER)
    try:
        cloudformation.create_stack(StackName="elsewhere", TemplateBody=template, Capabilities=["CAPABILITY_IAM"],
                                    Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()])
        refused = False
    except botocore.exceptions.ClientError as error:
        refused = True
        check("a stack in another region is refused by its Rules", "SourceRegion" in str(error), error)
    if not refused:
        check("lack: the emulator does not evaluate Rules", True)
        cloudformation.delete_stack(StackName="elsewhere")


def stack_outputs(connect, template, parameters):
    cloudformation = connect("cloudformation")
    cloudformation.create_stack(StackName=STACK, TemplateBody=template, Capabilities=["CAPABILITY_IAM"],
                                Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()])
    stack = lambda: cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    until(120, lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"))
    if not check(f"the stack deploys in {REGION}", stack()["StackStatus"] == "CREATE_COMPLETE", stack()["StackStatus"]):
        for event in cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]:
            if "FAILED" in event["ResourceStatus"]:
                print("    ", event["LogicalResourceId"], event.get("ResourceStatusReason"))
        return None
    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack()["Outputs"]}
    wanted = {"LambdaFunctionName", "LambdaFunctionArn", "QueueUrl", "DeadLetterQueueUrl", "LogGroupName", "RuleName", "SecretName", "RoleArn"}
    check("outputs", set(outputs) == wanted, sorted(outputs))
    return outputs


def resources(connect, outputs):
    configuration = connect("lambda").get_function_configuration(FunctionName=outputs["LambdaFunctionName"])
    check("function: name, runtime, memory, timeout", (
        configuration["FunctionName"], configuration["Runtime"], configuration["MemorySize"], configuration["Timeout"]) == (
        "S3CrossPartitionSync", "provided.al2023", 512, 900), configuration)
    check("lack: the emulator leaves /tmp at 512 MB, whatever the template says", configuration["EphemeralStorage"]["Size"] == 512, configuration)
    wanted = {"SOURCE_REGION": REGION, "SOURCE_BUCKET": SOURCE, "TARGET_REGION": TARGET_REGION, "TARGET_BUCKET": TARGET,
              "SECRET_ID": "s3-cross-partition-sync-credentials", "LOG_LEVEL": "DEBUG", "MEMORY_THRESHOLD_MB": "100", "ETAG_MODE": "auto"}
    check("function: the environment, and nothing that is empty in it", configuration["Environment"]["Variables"] == wanted, configuration["Environment"])
    groups = connect("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroupName"])["logGroups"]
    check("log group", [g["logGroupName"] for g in groups] == ["/aws/lambda/S3CrossPartitionSync"], groups)
    check("lack: the emulator sets no retention of logs, whatever the template says", "retentionInDays" not in groups[0], groups)
    secret = json.loads(connect("secretsmanager").get_secret_value(SecretId=outputs["SecretName"])["SecretString"])
    check("secret", secret == {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}, sorted(secret))
    sqs = connect("sqs")
    queue = sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    dead = sqs.get_queue_attributes(QueueUrl=outputs["DeadLetterQueueUrl"], AttributeNames=["All"])["Attributes"]
    check("queue: 14 days, hidden for six timeouts, five tries, then the dead letters", (
        queue["MessageRetentionPeriod"], queue["VisibilityTimeout"], json.loads(queue["RedrivePolicy"])) == (
        "1209600", "5400", {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 5}), queue)
    check("dead letters: 14 days", dead["MessageRetentionPeriod"] == "1209600", dead)
    events = connect("events")
    rule = events.describe_rule(Name=outputs["RuleName"])
    check("rule: three kinds of event of one bucket", json.loads(rule["EventPattern"]) == {
        "source": ["aws.s3"], "detail-type": ["Object Created", "Object Deleted", "Object Restore Completed"], "detail": {"bucket": {"name": [SOURCE]}}}, rule)
    (rule_target,) = events.list_targets_by_rule(Rule=outputs["RuleName"])["Targets"]
    check("rule: to the queue, or to the dead letters", (rule_target["Arn"], rule_target["DeadLetterConfig"]["Arn"]) == (queue["QueueArn"], dead["QueueArn"]), rule_target)
    # The emulator keeps a policy for each queue of the list, so both are read.
    for name, attributes in (("queue", queue), ("dead letters", dead)):
        (statement,) = json.loads(attributes["Policy"])["Statement"]
        check(f"{name}: only this rule may send", (statement["Principal"], statement["Action"], statement["Condition"]) == (
            {"Service": "events.amazonaws.com"}, "sqs:SendMessage", {"ArnEquals": {"aws:SourceArn": rule["Arn"]}}), statement)
    (mapping,) = connect("lambda").list_event_source_mappings(FunctionName=outputs["LambdaFunctionName"])["EventSourceMappings"]
    check("queue to function: batches of 10, partial failures, at most 20 at once", (
        mapping["BatchSize"], mapping["FunctionResponseTypes"], mapping.get("ScalingConfig")) == (10, ["ReportBatchItemFailures"], {"MaximumConcurrency": 20}), mapping)
    iam, role = connect("iam"), outputs["RoleArn"].rpartition("/")[2]
    check("role: no managed policies", iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == [])
    statements = {s["Sid"]: (s["Action"], s["Resource"]) for s in iam.get_role_policy(RoleName=role, PolicyName="sync")["PolicyDocument"]["Statement"]}
    arn = f"{REGION}:000000000000"
    check("role: the actions it needs, on what it needs them", statements == {
        "Logs": (["logs:CreateLogStream", "logs:PutLogEvents"], f"arn:aws-cn:logs:{arn}:log-group:/aws/lambda/S3CrossPartitionSync:*"),
        "SourceObjects": (["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"], f"arn:aws-cn:s3:::{SOURCE}/*"),
        "SourceBucket": ("s3:ListBucket", f"arn:aws-cn:s3:::{SOURCE}"),
        "TargetKeys": ("secretsmanager:GetSecretValue", f"arn:aws-cn:secretsmanager:{arn}:secret:s3-cross-partition-sync-credentials-??????"),
        "Events": (["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility",
                    "sqs:SendMessage"], queue["QueueArn"]),
        "DeadLetters": ("sqs:SendMessage", f"{queue['QueueArn']}-dead-letters"),
    }, json.dumps(statements, indent=1))


def objects(s3, target, sqs, function, outputs):
    """PutObject → EventBridge → queue → function → target, then the rest of a queue's life."""
    # Keys of plain letters: this emulator's EventBridge hands out keys URL-encoded, which AWS does not.
    bodies = {"events/small.json": b'{"a":1}' * 100, "events/empty": b"", "events/large.bin": hashlib.shake_128(b"large").digest(20 << 20)}

    def arrived(key, body):
        def probe():
            try:
                return target.get_object(Bucket=TARGET, Key=key)["Body"].read() == body
            except botocore.exceptions.ClientError:
                return False
        return until(60, probe)

    def drained():
        def probe():
            a = sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
            return a["ApproximateNumberOfMessages"] == a["ApproximateNumberOfMessagesNotVisible"] == "0"
        return until(60, probe)

    def invoke(payload):
        reply = function.invoke(FunctionName=outputs["LambdaFunctionName"], Payload=json.dumps(payload))
        return reply.get("FunctionError"), json.loads(reply["Payload"].read())

    for key, body in bodies.items():
        s3.put_object(Bucket=SOURCE, Key=key, Body=body)
        check(f"event: {key}, {len(body)} bytes, arrives at the target", arrived(key, body))
    check("event: the queue is drained, nothing failed", drained())
    again = b'{"a":2}'
    s3.put_object(Bucket=SOURCE, Key="events/small.json", Body=again)
    check("event: an overwrite arrives", arrived("events/small.json", again))
    s3.delete_object(Bucket=SOURCE, Key="events/empty")
    check("event: a deletion is taken, and removes nothing", drained() and arrived("events/empty", b""))
    error, report = invoke({"test_key": "events/small.json"})
    check("test_key: an object that is there is unchanged", error is None and report.get("outcome") == "unchanged", report)
    error, report = invoke({"test_key": "events/absent"})
    check("test_key: an absent object is not an answer of success", error is not None or report.get("outcome") in ("failed", "superseded"), (error, report))
    error, swept = invoke({"op": "sweep"})
    check("sweep: nothing is old enough", error is None and swept.get("op") == "sweep" and swept["uploads"]["swept"] == 0, swept)
    # One good event in the same batch must not fail with the bad one, which is put aside at its first delivery.
    s3.put_object(Bucket=SOURCE, Key="events/beside", Body=b"beside")
    sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="not an event")
    check("event: beside a message that is none arrives", arrived("events/beside", b"beside"))
    letters = until(120, lambda: sqs.receive_message(
        QueueUrl=outputs["DeadLetterQueueUrl"], MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages"))
    check("a message that is no event ends with the dead letters, alone", [m["Body"] for m in letters or []] == ["not an event"], letters)
    reasons = [m.get("MessageAttributes", {}).get("ErrorClass", {}).get("StringValue") for m in letters or []]
    check("its attributes say why", reasons == ["event"], letters)
    check("the queue is drained", drained())


def taken_down(connect):
    cloudformation = connect("cloudformation")
    cloudformation.delete_stack(StackName=STACK)

    def gone():
        try:
            return cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
        except botocore.exceptions.ClientError:
            return True
    check("the stack is deleted", until(120, gone))
    try:
        kept = bool(connect("secretsmanager").get_secret_value(SecretId="s3-cross-partition-sync-credentials"))
    except botocore.exceptions.ClientError:
        kept = False
    check("the secret outlives the stack", kept)


main(pathlib.Path(sys.argv[1]).read_text(), sys.argv[2])
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0 or passed == 0)
