"""The driver `policy-check`: holds the packages that `lock-parse` found against the policy in the spec.

This file is only the border to the host; what the driver does is in policy.py.
"""

import policy
from conveyor import Permanent, Result
from conveyor.component import component


def reconcile(request, log):
    try:
        return _reconcile(request, log)
    except (policy.PolicyError, KeyError, TypeError, AttributeError) as error:
        # The same input gives the same error, so another try is of no use.
        raise Permanent(f"the policy cannot be checked: {error}") from error


def _reconcile(request, log):
    spec = request["resource"]["spec"]
    rules = spec.get("policy", {})
    inventory = policy.earlier_result(request["context"], "lock-parse")
    log(
        f"holding {inventory['count']} packages against {len(rules.get('allowed_licences', []))} allowed licences "
        f"and {len(rules.get('denied', []))} denials"
    )
    violations, statistics = policy.check(inventory, spec.get("licences", {}), rules)
    for violation in violations:
        log(violation["message"], "warn")
    message = policy.message(violations, statistics)
    log(message, "error" if violations else "info")
    return Result(not violations, message, {"violations": violations, "statistics": statistics})


# componentize-py finds the class that is exported by its name.
Reconciler = component(reconcile)
