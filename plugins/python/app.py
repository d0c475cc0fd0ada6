"""The driver `policy-check`: holds the packages that `lock-parse` found against the policy in the spec.

This file is only the border to the host; what the driver does is in policy.py. Everything is imported here at the
top, because componentize-py keeps what was loaded while it built, and nothing can be loaded later.
"""

import json

import policy
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import host_log
from wit_world.imports.driver_types import DriverResult, Failure_Permanent, ReconcileRequest
from wit_world.imports.host_log import Level


class Reconciler(exports.Reconciler):
    """The exported interface: componentize-py finds it by its name."""

    def reconcile(self, request: ReconcileRequest) -> DriverResult:
        try:
            return _reconcile(request)
        except (policy.PolicyError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            # The same input gives the same error, so another try is of no use.
            raise Err(Failure_Permanent(f"the policy cannot be checked: {error}")) from error


def _reconcile(request):
    spec = json.loads(request.target.spec)
    rules = spec.get("policy", {})
    inventory = policy.earlier_result(json.loads(request.context), "lock-parse")
    host_log.log(
        Level.INFO,
        f"holding {inventory['count']} packages against {len(rules.get('allowed_licences', []))} allowed licences "
        f"and {len(rules.get('denied', []))} denials",
    )
    violations, statistics = policy.check(inventory, spec.get("licences", {}), rules)
    for violation in violations:
        host_log.log(Level.WARN, violation["message"])
    message = policy.message(violations, statistics)
    host_log.log(Level.ERROR if violations else Level.INFO, message)
    data = {"violations": violations, "statistics": statistics}
    return DriverResult(success=not violations, message=message, data=json.dumps(data))
