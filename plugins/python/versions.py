"""Semantic versions and the ranges of a policy: `*`, `=1.2.3`, `<1.2`, `>=1, <2`; a bare version means that one."""

import functools
import re

_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$")
_CONDITION = re.compile(r"(<=|>=|<|>|=)?\s*(\S+)$")
_HOLDS = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "=": lambda left, right: left == right,
}


class RangeError(ValueError):
    """The text is no version, or no range of them."""


@functools.total_ordering
class Version:
    """Orders as semver.org says; the part behind a `+` does not count."""

    def __init__(self, text):
        match = _VERSION.match(text.strip())
        if match is None:
            raise RangeError(f"'{text}' is no version")
        self.numbers = tuple(int(part or 0) for part in match.group(1, 2, 3))
        self.pre = tuple(_identifier(part) for part in match.group(4).split(".")) if match.group(4) else ()

    def _key(self):
        # A pre-release comes before its release.
        return (self.numbers, not self.pre, self.pre)

    def __eq__(self, other):
        return self._key() == other._key()

    def __lt__(self, other):
        return self._key() < other._key()


def matches(version, range_text):
    """Whether `version` is in the range: all its conditions, parted by commas, hold."""
    version = Version(version)
    return all(_holds(version, condition.strip()) for condition in range_text.split(","))


def _holds(version, condition):
    if condition == "*":
        return True
    match = _CONDITION.match(condition)
    if match is None:
        raise RangeError(f"'{condition}' is no condition on a version")
    return _HOLDS[match.group(1) or "="](version, Version(match.group(2)))


def _identifier(part):
    # Numbers order by value and come before words; the empty fields keep the two kinds comparable.
    return (0, int(part), "") if part.isdigit() else (1, 0, part)
