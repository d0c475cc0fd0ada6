"""Picks out of the JSON that `conveyor ... -o json` prints on standard input what the demo shows.

    show.py runid       the run id of the first resource among the applied documents
    show.py markdown    the report in the record of a run
    show.py record      the record of a run, with long texts and lists cut short
    show.py status      the status of a run
"""

import json
import sys

LONGEST_TEXT = 200
LONGEST_LIST = 3


def main():
    documents = list(read(sys.stdin.read()))
    wanted = sys.argv[1]
    if wanted == "record":
        for document in documents:
            print(json.dumps(shorten(document), indent=2, ensure_ascii=False))
        return
    key = {"runid": "runid", "markdown": "markdown", "status": "status"}[wanted]
    found = next((value for document in documents for value in find(document, key)), None)
    if found is None:
        sys.exit(f"no '{key}' in what was printed")
    print(found)


def read(text):
    """The documents in `text`, one after the other or in a list."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        value, position = decoder.raw_decode(text, position)
        yield from value if isinstance(value, list) else [value]


def find(value, key):
    """All texts under `key`, those nearest to the top first: a step has a status, too."""
    level = [value]
    while level:
        for one in level:
            if isinstance(one, dict) and isinstance(one.get(key), str) and one[key]:
                yield one[key]
        level = [inner for one in level for inner in children(one)]


def children(value):
    if isinstance(value, dict):
        return [unpack(inner) for inner in value.values()]
    return [unpack(inner) for inner in value] if isinstance(value, list) else []


def unpack(value):
    """Data of drivers may travel as text that is JSON in turn."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def shorten(value):
    if isinstance(value, dict):
        return {key: shorten(inner) for key, inner in value.items()}
    if isinstance(value, list):
        rest = len(value) - LONGEST_LIST
        return [shorten(inner) for inner in value[:LONGEST_LIST]] + ([f"… and {rest} more"] if rest > 0 else [])
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}… and {len(value) - LONGEST_TEXT} more characters"
    return value


if __name__ == "__main__":
    main()
