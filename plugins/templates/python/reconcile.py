"""What the driver does. It knows nothing of how it is called."""


def reconcile(request, log):
    """Acts on the resource once.

    request: a dict with "event" (create, update, delete), "resource" ("name", "spec") and "context" (what the steps share:
    "pipeline", "metadata", and the "results" of earlier steps by step id). log: takes one line of text.
    Returns (success, message, data): one line for people, and a dict for the steps that follow.
    """
    resource = request["resource"]
    log(f"{request['event']} of {resource['name']}")
    greeting = f"Hello, {resource['spec']['who']}!"
    return True, greeting, {"greeting": greeting}
