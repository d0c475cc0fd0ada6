"""What the driver does. It knows nothing of how it is called."""

from conveyor import Permanent, success


def reconcile(request, log):
    """Acts on the resource once.

    request: a dict with "run_id", "step", "attempt", "event" (create, update, delete), "resource" ("name", "spec") and
    "context" (what the steps share: "pipeline", "metadata", and the "results" of earlier steps by step id). log: takes one
    line of text, and its level if it is not "info". Returns success or failure: one line for people, and data for the steps that follow.
    """
    resource = request["resource"]
    log(f"{request['event']} of {resource['name']}")
    who = resource["spec"].get("who")
    if not who:
        raise Permanent("the spec has no field who")
    greeting = f"Hello, {who}!"
    return success(greeting, greeting=greeting)
