"""The border between a driver and the host of components.

Everything is imported here at the top, because nothing can be loaded later than at the build.
"""

import json
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import host_log
from wit_world.imports.driver_types import DriverResult, Failure_Permanent, Failure_Retryable, ReconcileRequest
from wit_world.imports.host_log import Level

from conveyor import Permanent


def component(reconcile):
    """The class that the module of a component has as `Reconciler`, from the function that acts on resources."""

    class Reconciler(exports.Reconciler):
        def reconcile(self, request: ReconcileRequest) -> DriverResult:
            try:
                success, message, data = reconcile(_plain(request), _log)
                return DriverResult(success=success, message=message, data=json.dumps(data))
            except Exception as error:
                failure = getattr(error, "failure", None)
                if failure == "permanent":
                    raise Err(Failure_Permanent(str(error))) from error
                if failure == "retryable":
                    raise Err(Failure_Retryable(str(error))) from error
                # What nobody expected is for the author, who needs to know where it was.
                _log(traceback.format_exc(), "debug")
                raise Err(Failure_Retryable(f"{type(error).__name__}: {error}")) from error

    return Reconciler


def _log(line, level="info"):
    host_log.log(Level[level.upper()], str(line))


def _plain(request):
    """The request as `driver exec` gives it to a driver that runs elsewhere."""
    target = request.target
    resource = {
        "id": target.id,
        "name": target.name,
        "resource": target.resource_type,
        "metadata": {"version": target.version},
        "spec": _parsed(target.spec, "spec"),
    }
    return {
        "run_id": request.run_id,
        "step": request.step_id,
        "attempt": request.attempt,
        "event": request.event,
        "resource": resource,
        "context": _parsed(request.context, "context"),
    }


def _parsed(text, what):
    try:
        return json.loads(text)
    except ValueError as error:
        raise Permanent(f"the {what} cannot be read: {error}") from error
