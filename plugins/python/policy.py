"""Holds the packages of a lock file against a policy. Knows nothing of components."""

import collections

import spdx
import versions

# How many violations the one-line message names; the data always has all of them.
NAMED_IN_MESSAGE = 3


class PolicyError(ValueError):
    """The policy or the input makes no sense: trying again cannot help."""


def earlier_result(context, driver):
    """The data that the step of `driver` left in the context of the run."""
    for result in context.get("results", {}).values():
        if result.get("driver") == driver and result.get("success"):
            return result.get("data")
    raise PolicyError(f"no earlier step with the driver '{driver}' has left a result")


def check(inventory, licences, policy):
    """All violations, and statistics over the packages."""
    allowed = _field(policy, "allowed_licences", list, [])
    denied = _field(policy, "denied", list, [])
    limit = _field(policy, "max_duplicates", int, None)
    packages = inventory["packages"]
    # Denials come first, because the message names only the first few violations and they are the gravest.
    violations = [violation for package in packages for violation in _denied(package, denied)]
    for package in packages:
        # The project's own packages have no source: it need not allow itself its own licence.
        if package.get("source"):
            violations += _licence(package, licences, allowed)
    violations += _duplicates(inventory.get("duplicates", []), limit)
    return violations, _statistics(packages, licences, inventory)


def message(violations, statistics):
    """One line for people."""
    if not violations:
        return f"{statistics['packages']} packages keep the policy"
    named = "; ".join(violation["message"] for violation in violations[:NAMED_IN_MESSAGE])
    more = len(violations) - NAMED_IN_MESSAGE
    count = "1 violation" if len(violations) == 1 else f"{len(violations)} violations"
    return f"{count} of the policy: {named}" + (f"; and {more} more" if more > 0 else "")


def _denied(package, denied):
    for rule in denied:
        if not isinstance(rule, dict) or "name" not in rule:
            raise PolicyError("each entry of 'denied' must be an object with a 'name'")
        if rule["name"] != package["name"]:
            continue
        wanted = rule.get("versions", "*")
        try:
            hit = versions.matches(package["version"], wanted)
        except versions.RangeError as error:
            raise PolicyError(f"denied '{rule['name']}': {error}") from error
        if hit:
            reason = rule.get("reason", "no reason given")
            yield _violation("denied", package, f"{_title(package)} is denied ({wanted}): {reason}")


def _licence(package, licences, allowed):
    expression = licences.get(_title(package))
    if not expression:
        yield _violation("licence-unknown", package, f"{_title(package)} has no known licence")
        return
    try:
        if not spdx.allows(expression, allowed):
            yield _violation("licence", package, f"{_title(package)} is licensed under {expression}")
    except spdx.ExpressionError as error:
        yield _violation("licence-unknown", package, f"{_title(package)} has an unreadable licence: {error}")


def _duplicates(duplicates, limit):
    if limit is not None and len(duplicates) > limit:
        names = ", ".join(duplicate["name"] for duplicate in duplicates)
        text = f"{len(duplicates)} packages are there in several versions, {limit} are allowed"
        yield {"kind": "duplicates", "package": None, "version": None, "message": text, "names": names}


def _statistics(packages, licences, inventory):
    foreign = [package for package in packages if package.get("source")]
    count = collections.Counter(licences.get(_title(package)) or "unknown" for package in foreign)
    return {
        "packages": len(packages),
        "own": len(packages) - len(foreign),
        "duplicates": len(inventory.get("duplicates", [])),
        "dependencies": sum(package.get("dependencies", 0) for package in packages),
        # Most frequent first; equal ones by name, so that the same input gives the same text.
        "licences": dict(sorted(count.items(), key=lambda item: (-item[1], item[0]))),
    }


def _violation(kind, package, text):
    return {"kind": kind, "package": package["name"], "version": package["version"], "message": text}


def _title(package):
    return f"{package['name']} {package['version']}"


def _field(policy, name, kind, default):
    value = policy.get(name, default)
    if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
        raise PolicyError(f"'{name}' of the policy has the wrong type")
    return value
