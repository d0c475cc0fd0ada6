"""Writes a resource of the type `lockfile` as a document for `conveyor apply`.

    cargo metadata --locked --format-version 1 | \\
        python3 make_resource.py --name app --lockfile Cargo.lock --policy policy.json >app.json

The licences come from the output of `cargo metadata` on standard input: the lock file itself does not name them.
"""

import argparse
import json
import pathlib
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="the name of the resource")
    parser.add_argument("--lockfile", required=True, type=pathlib.Path)
    parser.add_argument("--policy", required=True, type=pathlib.Path)
    parser.add_argument("--pipeline", default="supply-chain")
    options = parser.parse_args()
    spec = {
        "lockfile": options.lockfile.read_text(encoding="utf-8"),
        "licences": licences(json.load(sys.stdin)),
        "policy": json.loads(options.policy.read_text(encoding="utf-8")),
    }
    document = {
        "kind": "Resource",
        "name": options.name,
        "resource": "lockfile",
        "pipeline": options.pipeline,
        "spec": spec,
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def licences(metadata):
    """The licence of each package that names one, by "NAME VERSION"."""
    return {
        f"{package['name']} {package['version']}": package["license"]
        for package in metadata["packages"]
        if package.get("license")
    }


if __name__ == "__main__":
    main()
