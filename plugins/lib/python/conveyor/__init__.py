"""What a driver says, and how: the same for a component and for a driver that runs elsewhere.

The driver's project has a copy of its own.
"""

from typing import Any, NamedTuple


class Result(NamedTuple):
    """What a driver says of an attempt."""

    success: bool
    # One line for people.
    message: str
    # For the steps that follow.
    data: Any


class Retryable(Exception):
    """The work cannot be done, and another try may help. The same is believed of every exception that does not say."""

    failure = "retryable"


class Permanent(Exception):
    """The work cannot be done, and no other try will help: the spec makes no sense."""

    failure = "permanent"


def success(message, **data):
    """The driver achieved what it is for."""
    return Result(True, message, data)


def failure(message, **data):
    """The driver did its work, and the answer is no: that ends the run, with the message as the reason."""
    return Result(False, message, data)
