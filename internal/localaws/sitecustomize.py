# Python runs this when moto's server starts. It ends moto when its standard
# input does (that is when the local AWS is gone, however it went), mends three
# faults of moto 5.2.1, and says of each whether it could.
import importlib.util
import os
import sys
import threading


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


def mend_boto_client(module):
    # Every task of every execution makes a client, and boto3's session is not
    # made for several threads.
    make, lock = module.boto_client_for, threading.Lock()

    def one_at_a_time(*args, **kwargs):
        with lock:
            return make(*args, **kwargs)

    module.boto_client_for = one_at_a_time


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


mends = {
    "moto.iam.access_control": mend_bucket_policies,
    "moto.stepfunctions.parser.backend.execution": mend_execution,
    "moto.stepfunctions.parser.asl.utils.boto_client": mend_boto_client,
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
