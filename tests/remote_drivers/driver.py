"""The driver of the tests of remote drivers, in Python; driver.rs says what it does. With ASYNC set, as an async function."""

import asyncio
import os
import pathlib
import time

import remote

NOTES = pathlib.Path(os.environ["NOTES"])


def note(request, what):
    with open(NOTES / request["resource"]["name"], "a", encoding="utf-8") as file:
        file.write(what + "\n")


def held(request):
    return "hold" in request["resource"]["spec"] and not (NOTES / f"{request['resource']['name']}.go").exists()


def reconcile(request, log):
    note(request, "begun")
    try:
        while held(request):
            log("waiting", "debug")
            time.sleep(0.05)
    except BaseException:
        note(request, "broken off")
        raise
    return answer(request, log)


async def reconcile_async(request, log):
    note(request, "begun")
    try:
        while held(request):
            await asyncio.sleep(0.05)
    except BaseException:
        note(request, "broken off")
        raise
    return answer(request, log)


def answer(request, log):
    spec = request["resource"]["spec"]
    if "permanent" in spec:
        raise remote.Permanent(spec["permanent"])
    if "fail" in spec:
        return False, spec["fail"], None
    log(f"{request['event']} of {request['resource']['name']}")
    team, before = request["context"]["metadata"]["team"], request["context"]["results"]["before"]["data"]
    data = {"process": os.getpid(), "attempt": request["attempt"], "team": team, "before": before, "text": "<é>"}
    return True, "done", data


remote.main("far", ["app"], reconcile_async if os.environ.get("ASYNC") else reconcile)
