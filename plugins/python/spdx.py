"""SPDX licence expressions: is what an expression offers covered by a list of allowed licences?

Understands OR, AND, WITH, parentheses, the `+` suffix, and `/` as crates used it for OR before SPDX expressions.
"""

import re

_TOKEN = re.compile(r"\s*(?:(?P<sign>[()/])|(?P<word>[A-Za-z0-9.+:_-]+))")


class ExpressionError(ValueError):
    """The text is no SPDX expression."""


def allows(expression, allowed):
    """Whether one may use what is licensed under `expression`, given the identifiers in `allowed`."""
    return _Reader(expression, {name.lower() for name in allowed}).read()


class _Reader:
    """Evaluates while it reads: OR binds weakest, then AND, then WITH."""

    def __init__(self, text, allowed):
        self.text = text
        self.allowed = allowed
        self.tokens = _tokens(text)
        self.position = 0

    def read(self):
        value = self._any()
        if self._peek() is not None:
            raise ExpressionError(f"unexpected '{self._peek()}' in '{self.text}'")
        return value

    def _any(self):
        value = self._all()
        while self._peek() in ("OR", "/"):
            self.position += 1
            # Read first: a short cut would leave the rest of the text unread.
            right = self._all()
            value = value or right
        return value

    def _all(self):
        value = self._one()
        while self._peek() == "AND":
            self.position += 1
            right = self._one()
            value = value and right
        return value

    def _one(self):
        token = self._next()
        if token == "(":
            value = self._any()
            if self._next() != ")":
                raise ExpressionError(f"missing ')' in '{self.text}'")
            return value
        if token in ("OR", "AND", "WITH", "/", ")"):
            raise ExpressionError(f"unexpected '{token}' in '{self.text}'")
        if self._peek() == "WITH":
            self.position += 1
            exception = self._next()
            # An exception only ever gives more freedom, so the bare licence in the list is enough.
            return self._listed(f"{token} WITH {exception}") or self._listed(token)
        return self._listed(token)

    def _listed(self, licence):
        licence = licence.lower()
        if licence in self.allowed:
            return True
        if licence.endswith("+"):
            # "This version or a later one" offers this version, too.
            return licence[:-1] in self.allowed or f"{licence[:-1]}-or-later" in self.allowed
        return False

    def _peek(self):
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _next(self):
        token = self._peek()
        if token is None:
            raise ExpressionError(f"'{self.text}' ends too early")
        self.position += 1
        return token


def _tokens(text):
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected '{text[position:].strip()[0]}' in '{text}'")
        word = match.group("sign") or match.group("word")
        # The operators are matched in any case, as people write them; identifiers never look like them.
        tokens.append(word.upper() if word.upper() in ("OR", "AND", "WITH") else word)
        position = match.end()
    return tokens
