"""The driver `{{name}}`: the border to the host. What it does is in reconcile.py.

Everything is imported here at the top, because nothing can be loaded later than at the build.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import host_log
from wit_world.imports.driver_types import DriverResult, Failure_Permanent, ReconcileRequest
from wit_world.imports.host_log import Level

from reconcile import reconcile


class Reconciler(exports.Reconciler):
    """The exported interface: componentize-py finds it by its name."""

    def reconcile(self, request: ReconcileRequest) -> DriverResult:
        try:
            resource = {"name": request.target.name, "spec": json.loads(request.target.spec)}
            plain = {"event": request.event, "resource": resource, "context": json.loads(request.context)}
            success, message, data = reconcile(plain, lambda line: host_log.log(Level.INFO, line))
        except (KeyError, TypeError, ValueError) as error:
            # The same input gives the same error, so another try is of no use.
            raise Err(Failure_Permanent(f"{type(error).__name__}: {error}")) from error
        return DriverResult(success=success, message=message, data=json.dumps(data))
