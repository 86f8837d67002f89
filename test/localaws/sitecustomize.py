# Python runs this when moto's server starts. It ends moto when its standard
# input does (that is when the local AWS is gone, however it went), mends faults
# of moto 5.2.1, and says of each module whether it could.
import functools
import importlib.util
import json
import os
import re
import sys
import threading
import time
import types


def end_with_stdin():
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(0)


def mend_execution(module):
    # StartExecution makes a deep copy of the state machine with all of its
    # executions, and a running one cannot be copied: the second at a time fails.
    module.Execution.__deepcopy__ = lambda self, memo: self

    # One that is stopped runs on until the call that it waits for is answered.
    stop, status = module.Execution.stop, module.ExecutionStatus

    def stop_at_once(self, stop_date, error, cause):
        running = self.exec_status == status.RUNNING
        stop(self, stop_date, error, cause)
        if running:
            self.exec_status, self.stop_date = status.ABORTED, stop_date

    module.Execution.stop = stop_at_once


def mend_boto_client(module):
    # Every task of every execution makes a client, and boto3's session is not
    # made for several threads. Its clients are. And whoever gets a call learns in
    # whose name it is made: the role is in the place of a session's token.
    make, config, boto3 = module.boto_client_for, module.Config, module.boto3
    lock, clients = threading.Lock(), {}
    module.Config = functools.partial(config, max_pool_connections=1000)

    def one_of_a_kind(region, service, state_credentials=None):
        kind = region, service, str(state_credentials)
        with lock:
            if kind not in clients:
                role = getattr(state_credentials, "role_arn", None)
                module.boto3 = types.SimpleNamespace(client=functools.partial(boto3.client, aws_session_token=role))
                clients[kind] = make(region=region, service=service, state_credentials=state_credentials)
            return clients[kind]

    module.boto_client_for = one_of_a_kind


def mend_parsing(module):
    # Every execution parses its definition anew, which takes longer than the rest
    # of it. What a definition means never changes; what an execution remembers of
    # its parts it has under their keys, of which two that ask at once made two.
    parser = module.AmazonStateLanguageParser
    module.AmazonStateLanguageParser = types.SimpleNamespace(parse=functools.cache(parser.parse))
    module.EvalComponent.heap_key = property(lambda self: str(id(self)))


def mend_bucket_policies(module):
    # A bucket policy's conditions are ignored, so that one which denies what
    # does not use TLS denies everything. Calls of this AWS count as using TLS.
    permitted = module.IAMPolicyStatement.is_action_permitted

    def unless_it_wants_tls(self, *args, **kwargs):
        wanted = self._statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
        if wanted in ("false", ["false"]):
            return module.PermissionResult.NEUTRAL
        return permitted(self, *args, **kwargs)

    module.IAMPolicyStatement.is_action_permitted = unless_it_wants_tls


def mend_alarms(module):
    # DescribeAlarms looks at one of its conditions only, and knows no pages.
    describe = module.CloudWatchResponse.describe_alarms

    def some_at_a_time(self):
        answer = describe(self)
        state = self._get_param("StateValue")
        first = self._get_param("NextToken") or ""
        most = int(self._get_param("MaxRecords") or 50)
        alarms = sorted(answer.result["MetricAlarms"], key=lambda alarm: alarm.name)
        alarms = [a for a in alarms if a.name >= first and state in (None, "", a.state_value)]
        answer.result["MetricAlarms"] = alarms[:most]
        if len(alarms) > most:
            answer.result["NextToken"] = alarms[most].name
        return answer

    module.CloudWatchResponse.describe_alarms = some_at_a_time


def mend_tables(module):
    backend = module.DynamoDBBackend

    # A tag that is set again stays with its old value too.
    tag = backend.tag_resource

    def tag_once(self, table_arn, tags):
        self.untag_resource(table_arn, [t["Key"] for t in tags])
        tag(self, table_arn, tags)

    backend.tag_resource = tag_once

    # To be able to take a transaction back, the whole table is copied for each of
    # its items: one that holds many makes all of them slow.
    write, copied = backend.transact_write_items, module.copy.deepcopy
    module.copy = types.SimpleNamespace(deepcopy=lambda v: v if isinstance(v, module.Table) else copied(v))

    def write_or_take_back(self, transact_items):
        before = []
        for operation in (next(iter(item.values())) for item in transact_items):
            try:
                table = self.get_table(operation["TableName"])
                keys = self.get_keys_value(table, operation.get("Key") or operation["Item"])
            except Exception:
                continue  # moto says what is wrong
            before.append((table, keys, copied(table.get_item(*keys))))
        try:
            write(self, transact_items)
        except Exception:
            for table, (hash_key, range_key), item in before:
                if item is None:
                    table.delete_item(hash_key, range_key)
                elif range_key is None:
                    table.items[hash_key] = item
                else:
                    table.items[hash_key][range_key] = item
            raise

    backend.transact_write_items = write_or_take_back


def mend_expressions(module):
    # Much that DynamoDB refuses in an expression is taken: a placeholder that is
    # not used, one that is not defined, and reserved words in the conditions on
    # keys and in projections.
    fields = "Condition", "Filter", "KeyCondition", "Projection", "Update"
    token = re.compile(r"[#:]?[A-Za-z0-9_]+\b(?!\s*\()")
    operators = {"AND", "OR", "NOT", "IN", "BETWEEN", "SET", "REMOVE", "ADD", "DELETE"}
    reserved = set(module.ReservedKeywords.get_reserved_keywords()) - operators

    def check(request):
        used = set()
        for field in fields:
            text = request.get(field + "Expression")
            words = set(token.findall(text or ""))
            used |= words
            for word in words:
                if word.upper() in reserved:
                    raise module.MockValidationException(
                        f"Invalid {field}Expression: Attribute name is a reserved keyword; reserved keyword: {word}"
                    )
        for sign, kind in ("#", "Names"), (":", "Values"):
            given = set(request.get(f"ExpressionAttribute{kind}") or {})
            wanted = {word for word in used if word.startswith(sign)}
            if wanted - given:
                raise module.MockValidationException(
                    f"An expression attribute {kind.lower()[:-1]} used in expression is not defined; "
                    f"attribute {kind.lower()[:-1]}: {min(wanted - given)}"
                )
            if given - wanted:
                raise module.MockValidationException(
                    f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{', '.join(sorted(given - wanted))}}}"
                )

    def checked(method, requests):
        def check_first(self):
            for request in requests(self.body):
                check(request)
            return method(self)

        return check_first

    def one(body):
        return [body]

    def of_tables(body):
        return body.get("RequestItems", {}).values()

    def of_transaction(body):
        return [operation for item in body.get("TransactItems", []) for operation in item.values()]

    for name, requests in {
        "batch_get_item": of_tables,
        "delete_item": one,
        "get_item": one,
        "put_item": one,
        "query": one,
        "scan": one,
        "transact_get_items": of_transaction,
        "transact_write_items": of_transaction,
        "update_item": one,
    }.items():
        setattr(module.DynamoHandler, name, checked(getattr(module.DynamoHandler, name), requests))

    # Rules for what an answer looks like are applied to each number and text of what
    # was read. They change nothing, and take a large item ten times as long as the
    # rest.
    read = module.DynamoHandler.batch_get_item
    module.DynamoHandler.batch_get_item = lambda self: json.dumps(read(self).result)


def mend_complaints(module):
    # A Fail state is how some executions end, and a Choice may ask whether a field
    # is there: neither is a fault of the engine, which says so of both.
    component = module.EvalComponent
    complain = component._log_exception

    def complain_of_faults(self, exception):
        if type(exception).__name__ != "NoSuchJsonPathError":
            complain(self, exception)

    component._log_exception = complain_of_faults
    component._log_failure_event_exception = lambda self, failure_event_exception: None


# No fault, the next two: whoever tests what comes of a wait does not wait for all
# of it.
pace = float(os.environ.get("FIRSTLINE_PACE") or 1)


def mend_retries(module):
    sleep = module.time.sleep
    module.time = types.SimpleNamespace(sleep=lambda seconds: sleep(seconds / pace))


def mend_waits(module):
    def wait_less(self, env, wait_seconds):
        end = time.monotonic() + wait_seconds / pace
        while env.is_running() and time.monotonic() < end:
            env.program_state_event.wait(max(0, end - time.monotonic()))

    module.WaitFunction._wait_interval = wait_less


def mend_topics(module):
    # Every topic says that nobody is subscribed to it. SNS counts the subscriptions,
    # those apart that wait for somebody to confirm them: nobody here can.
    waiting = "email", "email-json", "http", "https"

    def counted(pending):
        def count(self):
            its = [s for s in list(self.sns_backend.subscriptions.values()) if s.topic == self]
            return sum((s.protocol in waiting) == pending for s in its)

        # A new topic sets it to nought.
        return property(count, lambda self, value: None)

    module.Topic.subscriptions_confimed = counted(False)
    module.Topic.subscriptions_pending = counted(True)


def mend_versions(module):
    # A version's number is how many there are, so that of a deleted one is given
    # again. Lambda never does, not even to a function of the same name.
    number, last = module.LambdaFunction.set_version, {}

    def set_new_version(self, version):
        key = self.region, self.function_name
        last[key] = max(version, last.get(key, 0) + 1)
        number(self, last[key])

    module.LambdaFunction.set_version = set_new_version


def mend_modules(module):
    # Every request goes through the folders of all services, and the others wait
    # for it meanwhile.
    names = list(module.list_of_moto_modules())
    module.list_of_moto_modules = lambda: names


def mend_paths(module):
    # Every look at a path makes the parser of paths anew, which takes longer than
    # all else that the engine does. What a path means never changes.
    module.parse = functools.cache(module.parse)


def mend_access_log(module):
    # A line for each request that was answered costs more than many an answer, and
    # nobody reads it.
    log = module.WSGIRequestHandler.log_request

    def log_faults(self, code="-", size="-"):
        if not str(getattr(code, "value", code)).startswith(("1", "2", "3", "4")):
            log(self, code, size)

    module.WSGIRequestHandler.log_request = log_faults


mends = {
    "moto.awslambda.models": mend_versions,
    "moto.backends": mend_modules,
    "moto.cloudwatch.responses": mend_alarms,
    "moto.dynamodb.models": mend_tables,
    "moto.dynamodb.responses": mend_expressions,
    "moto.iam.access_control": mend_bucket_policies,
    "moto.sns.models": mend_topics,
    "moto.stepfunctions.parser.backend.execution": mend_execution,
    "moto.stepfunctions.parser.backend.execution_worker": mend_parsing,
    "moto.stepfunctions.parser.asl.component.common.path.result_path": mend_paths,
    "moto.stepfunctions.parser.asl.component.eval_component": mend_complaints,
    "moto.stepfunctions.parser.asl.component.common.retry.retrier_decl": mend_retries,
    "moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function": mend_waits,
    "moto.stepfunctions.parser.asl.utils.boto_client": mend_boto_client,
    "moto.stepfunctions.parser.asl.utils.json_path": mend_paths,
    "werkzeug.serving": mend_access_log,
}


class Mender:
    """Finds the modules to mend, and mends them once they are loaded."""

    def find_spec(self, name, path=None, target=None):
        mend = mends.pop(name, None)
        if mend is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_mend(module):
            load(module)
            try:
                mend(module)
                said = f"mended {name}"
            except Exception as e:
                said = f"cannot mend {name}: {e!r}"
            # One write a line: other threads print too.
            os.write(2, f"firstline: {said}\n".encode())

        spec.loader.exec_module = load_and_mend
        return spec


if os.environ.get("FIRSTLINE_MOTO") and "moto_server" in " ".join(getattr(sys, "orig_argv", [])):
    threading.Thread(target=end_with_stdin, daemon=True).start()
    sys.meta_path.insert(0, Mender())
