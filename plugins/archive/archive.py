"""A remote driver: keeps the resource and the results of the earlier steps of each run in a folder.

It runs anywhere that reaches the NATS server of Conveyor, and needs nats-py.

    python3 archive.py --nats nats://127.0.0.1:4222 --out archive/
"""

import argparse
import json
import os
import pathlib
import re
import sys
import time

# The library of remote drivers, which a driver outside of this checkout has a copy of.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "remote" / "python"))

import remote  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], add_help=False)
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the folder to write to")
    parser.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="work longer, to try out long work")
    parser.add_argument("--fail", metavar="MESSAGE", help="do nothing but fail, to try out failures")
    options, rest = parser.parse_known_args()
    remote.main("archive", ["lockfile"], lambda request, log: reconcile(options, request, log), rest)


def reconcile(options, request, log):
    resource, results = request["resource"], request["context"]["results"]
    log(f"archiving {resource['name']} with {len(results)} earlier results, attempt {request['attempt']}")
    if options.delay:
        log(f"working for {options.delay:g} s")
        time.sleep(options.delay)
    if options.fail:
        return False, options.fail, None
    folder = options.out / file_name(request["run_id"]) / file_name(request["step"])
    try:
        files = write(folder, resource, results)
    except OSError as error:
        return False, f"cannot write the archive: {error}", None
    return True, f"{len(files)} files archived", {"folder": str(folder), "files": files}


def write(folder, resource, results):
    """Writes what is to be kept, and returns the names of the files. Writing it again gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"resource.json": pretty(resource)}
    for step, result in results.items():
        contents[f"result-{file_name(step)}.json"] = pretty(result)
        data = result.get("data")
        # The report is for people: it is worth a file that they can open.
        if isinstance(data, dict) and isinstance(data.get("markdown"), str):
            contents[f"{file_name(step)}.md"] = data["markdown"]
    for name, text in contents.items():
        # Renamed when whole, so that nobody ever reads half a file.
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, folder / name)
    return sorted(contents)


def file_name(text):
    """`text` as the name of one file: names come from others and must not lead out of the folder."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    return safe if safe.strip(".") else f"_{safe}"


def pretty(value):
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
