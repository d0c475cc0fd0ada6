"""A remote driver of Conveyor: a function of yours, called for every step that names it, wherever NATS can be reached.

    import remote

    def reconcile(request, log):
        log(f"{request['event']} of {request['resource']['name']}")
        return True, "deployed", {"url": "https://example.org"}

    remote.main("deploy", ["app"], reconcile)

`reconcile` is the function of a component: `request` is a dict with "run_id", "step", "attempt", "event", "resource" and
"context"; `log` takes one line of text and, if wanted, its level; the result is (success, message, data). It may be `async`.
`Retryable` and `Permanent` say that an attempt could not be carried through. An attempt comes again after a crash:
(run_id, step, attempt) is the key for effects that must not happen twice.

An attempt that nobody wants any more is broken off: an async function where it waits, any other at its next line of log,
where `Cancelled` is raised; until it has ended, nothing else is begun in its place.

Needs Python 3.10 or newer and nats-py.
"""

from .command import main
from .driver import Driver
from .lines import Cancelled
from .link import Access, Bounds, Unavailable
from .wire import Permanent, Retryable

__all__ = ["Access", "Bounds", "Cancelled", "Driver", "Permanent", "Retryable", "Unavailable", "main"]
