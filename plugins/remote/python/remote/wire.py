"""The messages between Conveyor and a remote driver. Knows nothing of NATS."""

import dataclasses
import json
import re

STREAM, RESULTS = "messages", "pipelines.driver.result"


class Failure(Exception):
    """The attempt could not be carried through. Any exception with such an attribute is one, so that a function can do
    without this package."""

    failure = "retryable"


class Retryable(Failure):
    """Trying again may help."""


class Permanent(Failure):
    """Trying again cannot help."""

    failure = "permanent"


class Malformed(ValueError):
    """The message is none of the protocol: no later delivery will be better."""


@dataclasses.dataclass(frozen=True)
class Work:
    """One attempt of one step, as it was sent to this driver."""

    run: str
    step: str
    attempt: int
    request: dict
    # As it came: its metadata says which attempt a result belongs to.
    resource: dict

    @property
    def name(self):
        """The same whenever this attempt is delivered again."""
        return f"{self.run}/{self.step}/{self.attempt}"


def decode(data, driver):
    """The Work in the bytes of a DriverMessage."""
    try:
        message = json.loads(data)
        resource = json.loads(message["payload"])
        run, attempt = message["run_id"], message.get("attempt") or 0
        step = message.get("step") or "*"
        # A message that goes to all drivers of a type names no step: each driver's name is its own.
        step = driver if step == "*" else step
        metadata = resource.get("metadata") or {}
        request = {
            "run_id": run,
            "step": step,
            "attempt": attempt,
            "event": message.get("event") or "",
            "resource": {**resource, "metadata": {key: metadata[key] for key in metadata if key == "version"}},
            "context": message.get("context") or {"pipeline": "", "metadata": {}, "results": {}},
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error
    if not isinstance(run, str) or not re.fullmatch(r"[^.*>\s]+", run):
        raise Malformed(f"run_id {run!r} is none")
    return Work(run, step, attempt, request, resource)


def result_event(work, driver, result):
    """The bytes of the PipelineEvent with a result. What the engine has recorded need not come back to it."""
    metadata = work.resource.get("metadata") or {}
    metadata = {key: value for key, value in metadata.items() if not key.startswith("driverresults.")}
    event = {
        "event": "driver.result",
        "run_id": work.run,
        "resource": {**work.resource, "metadata": metadata},
        "driverresult": {**result, "driver": driver},
    }
    return json.dumps(event).encode()


def outcome(said, most):
    """What `reconcile` said as a result, at most so many bytes of it."""
    try:
        success, message, data = said
        text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        return failed(f"reconcile must return (success, message, data), with data for JSON: {error}", "permanent")
    size = len(text.encode()) + len(str(message).encode())
    if size <= most:
        return {"success": bool(success), "message": str(message), "data": data}
    return failed(
        f"the result has {size} bytes, and remote.result_bytes allows {most}: keep the data elsewhere and name the place"
    )


def failed(message, kind=None):
    """A failed result, and which kind of failure it was."""
    return {"success": False, "message": message, "data": {"failure": kind} if kind else None}


def failure_of(error):
    """The same of an exception. One that says nothing may be gone at another try."""
    kind = getattr(error, "failure", None)
    if kind in ("retryable", "permanent"):
        return failed(str(error), kind)
    return failed(f"{type(error).__name__}: {error}", "retryable")


def identify(reply):
    """Which message of the stream is answered at this address: where it stands, and since when, because a stream that was
    made anew counts from 1 again."""
    tokens = reply.split(".")
    # Servers may put a domain and an account before the names.
    at = 5 if len(tokens) == 9 else 7
    return f"{tokens[at]}@{tokens[at + 2]}" if tokens[:2] == ["$JS", "ACK"] and len(tokens) > at + 2 else ""


def filters(driver, resources):
    """The subjects on which work arrives: what goes to all drivers of a type, and what is only for this one."""
    for name in [driver, *resources]:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"'{name}' cannot be the name of a driver or a resource: use letters, digits, '-' and '_'")
    if not resources:
        raise ValueError(f"the driver '{driver}' acts on no type of resource: name one")
    return [subject for resource in resources for subject in (f"resources.{resource}", f"drivers.{driver}.resources.{resource}")]


def consumer(driver, subjects, ack_wait_ms, in_flight):
    """The body of the request for the driver's place. All instances must ask for the same."""
    config = {
        "name": driver,
        "durable_name": driver,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": ack_wait_ms * 1_000_000,
        "max_deliver": -1,
        "max_ack_pending": in_flight,
        "replay_policy": "instant",
        "filter_subjects": subjects,
    }
    return {"stream_name": STREAM, "config": config, "action": ""}
