"""The messages between Conveyor and a remote driver. Knows nothing of NATS."""

import json
import re
from dataclasses import dataclass

# Metadata with these keys is made by the server: it says which attempt of which step of which run this is.
STEP, ATTEMPT = "conveyor.step", "conveyor.attempt"
RESULT_PREFIX = "driverresults."


class Malformed(ValueError):
    """The message is none of the protocol: no later delivery will be better."""


@dataclass(frozen=True)
class Work:
    """One attempt of one step, as it was dispatched to this driver."""

    run: str
    step: str
    attempt: str
    event: str
    resource: dict
    results: dict

    @property
    def name(self):
        """The same whenever this attempt is delivered again."""
        return f"{self.run}/{self.step}/{self.attempt}"


def decode(data, driver):
    """The Work in the bytes of a DriverMessage."""
    try:
        message = json.loads(data)
        # The resource travels as text inside the message.
        resource = json.loads(message["payload"])
        metadata = resource.get("metadata") or {}
        run = message["run_id"]
        step = metadata.get(STEP) or driver
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error
    if not run or not isinstance(run, str):
        raise Malformed("no run_id")
    return Work(run, step, metadata.get(ATTEMPT) or "1", message.get("event", ""), resource, _results(message, metadata))


def result_event(work, driver, result):
    """The bytes of the PipelineEvent that tells of `result`. The resource goes back just as it came."""
    event = {
        "event": "driver.result",
        "run_id": work.run,
        "resource": work.resource,
        "driverresult": {**result, "driver": driver},
    }
    return json.dumps(event).encode()


def log_line(work, driver, text, now):
    """The bytes of one Log."""
    line = {
        "runid": work.run,
        "driver": driver,
        "pipeline": work.resource.get("pipeline") or "",
        "timestamp": str(int(now)),
        "message": text,
    }
    return json.dumps(line).encode()


def filters(driver, resources):
    """The subjects on which work for `driver` arrives: what goes to all drivers of a type, and what is only for it."""
    for name in [driver, *resources]:
        if not re.fullmatch(r"[^.*>\s]+", name):
            raise ValueError(f"'{name}' cannot be part of a subject: no '.', '*', '>' or space is allowed")
    return [
        subject for resource in resources for subject in (f"resources.{resource}", f"drivers.{driver}.resources.{resource}")
    ]


def file_name(text):
    """`text` as the name of one file: names come from others and must not lead out of the folder."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    return safe if safe.strip(".") else f"_{safe}"


def _results(message, metadata):
    """The earlier results by step; a server without the additive `context` names them by driver, in the metadata."""
    context = message.get("context")
    if isinstance(context, dict) and isinstance(context.get("results"), dict):
        return context["results"]
    results = {}
    for key, text in metadata.items():
        if key.startswith(RESULT_PREFIX):
            try:
                results[key.removeprefix(RESULT_PREFIX)] = json.loads(text)
            except (ValueError, TypeError):
                results[key.removeprefix(RESULT_PREFIX)] = text
    return results
