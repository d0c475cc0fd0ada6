"""A driver as a program: what the command line and the environment say, and the signals that stop it."""

import argparse
import asyncio
import dataclasses
import json
import os
import re
import signal
import sys
import urllib.request

import nats.errors

from .driver import Driver
from .link import Access, Bounds, Unavailable, say


def main(name, resources, reconcile, arguments=None):
    """Works until SIGTERM or SIGINT, which let what is under way end; a second one ends at once."""
    parser = argparse.ArgumentParser(description=f"The driver {name} of Conveyor, over NATS.")
    parser.add_argument("--name", default=name, help="as steps of pipelines name it")
    parser.add_argument("--resources", default=",".join(resources), metavar="TYPE,...", help="what it acts on")
    parser.add_argument("--nats", default=os.environ.get("CONVEYOR_NATS"), metavar="URL,...", help="else the server tells")
    parser.add_argument("--server", default=os.environ.get("CONVEYOR_SERVER") or "http://127.0.0.1:8080", metavar="URL")
    parser.add_argument("--credentials", metavar="FILE", help="for NATS (.creds)")
    parser.add_argument("--ca", metavar="FILE", help="who signed the certificates of NATS (PEM); makes TLS a must")
    parser.add_argument("--certificate", metavar="FILE", help="to show to NATS (PEM), with --key")
    parser.add_argument("--key", metavar="FILE", help="of the certificate (PEM)")
    parser.add_argument("--concurrency", type=int, default=1, metavar="N", help="the most attempts under way at one time")
    options = parser.parse_args(arguments)
    if bool(options.certificate) != bool(options.key):
        parser.error("--certificate and --key belong together: give both")
    try:
        asyncio.run(_work(options, reconcile))
    except ValueError as error:
        parser.error(str(error))
    except (Unavailable, OSError, nats.errors.Error) as error:
        say(f"error: {error}")
        _end(1)
    _end(0)


async def _work(options, reconcile):
    driver = Driver(
        options.name,
        [resource for resource in options.resources.split(",") if resource],
        reconcile,
        servers=(options.nats or _nats_of(options.server) or "nats://127.0.0.1:4222").split(","),
        access=Access(options.credentials, options.ca, options.certificate, options.key),
        api=options.server,
        concurrency=options.concurrency,
        bounds=bounds(os.environ),
    )
    signals = []

    def stop():
        if signals:
            _end(130)
        signals.append(True)
        driver.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await driver.run(lambda: print(f"driver {driver.name} is ready", flush=True))


def bounds(environment):
    """Those that CONVEYOR_REMOTE__ACK_WAIT_MS and its like say, as for a driver in Rust."""
    said = {}
    for field in dataclasses.fields(Bounds):
        variable = f"CONVEYOR_REMOTE__{field.name.upper()}"
        text = environment.get(variable)
        if text and not re.fullmatch("[0-9]{1,15}", text):
            raise ValueError(f"{variable} is '{text}': give a whole number such as {field.default}")
        if text:
            said[field.name] = int(text)
    return Bounds(**said)


def _nats_of(server):
    """Where the server's NATS is, if the server is there and has one."""
    try:
        with urllib.request.urlopen(f"{server.rstrip('/')}/info", timeout=5) as answer:
            return json.loads(answer.read()).get("nats")
    except (OSError, ValueError, AttributeError):
        return None


def _end(code):
    # A thread that goes on although nobody waits for it any more would keep the process.
    sys.stdout.flush()
    os._exit(code)
