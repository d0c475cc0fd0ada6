"""Run with `.cache/venv/bin/python -m unittest discover -s plugins/remote/python`; needs nats-py, but no server."""

import asyncio
import json
import unittest

import remote
from remote import command, lines, wire

METADATA = {"version": "3", "conveyor.run": "r1", "conveyor.step": "ship", "conveyor.attempt": "2", "driverresults.a": "{}"}
RESOURCE = {"id": "i", "name": "app", "resource": "app", "metadata": METADATA, "spec": {"a": 1}}


def message(**changes):
    whole = {"event": "update", "payload": json.dumps(RESOURCE), "run_id": "r1", "step": "ship", "attempt": 2, **changes}
    return json.dumps(whole).encode()


class Wire(unittest.TestCase):
    def test_a_message_becomes_a_request_and_its_resource_goes_back(self):
        work = wire.decode(message(), "far")
        self.assertEqual((work.name, work.request["event"]), ("r1/ship/2", "update"))
        self.assertEqual(work.request["resource"], {**RESOURCE, "metadata": {"version": "3"}})
        event = json.loads(wire.result_event(work, "far", wire.failed("no")))
        self.assertEqual(event["driverresult"], {"success": False, "message": "no", "data": None, "driver": "far"})
        self.assertEqual(event["resource"]["metadata"], {key: METADATA[key] for key in METADATA if "." not in key or "c" == key[0]})

    def test_without_a_pipeline_the_driver_is_the_step(self):
        self.assertEqual(wire.decode(message(step="*"), "far").name, "r1/far/2")

    def test_what_is_no_message(self):
        for data in [b"", b"\xff", b"[]", b"{}", message(payload={}), message(payload="[]"), message(run_id="a.b")]:
            with self.subTest(data=data), self.assertRaises(wire.Malformed):
                wire.decode(data, "far")

    def test_what_a_function_says(self):
        self.assertEqual(wire.outcome((True, "é", 1), 3), {"success": True, "message": "é", "data": 1})
        self.assertIn("remote.result_bytes", wire.outcome((True, "é", 1), 2)["message"])
        for wrong in [None, (True, "two"), (True, "", {1, 2}), (True, "", float("nan"))]:
            self.assertEqual(wire.outcome(wrong, 99)["data"], {"failure": "permanent"})

    def test_exceptions(self):
        foreign = type("Foreign", (Exception,), {"failure": "permanent"})("b")
        kinds = [wire.failure_of(error)["data"]["failure"] for error in (remote.Retryable("a"), foreign, KeyError("c"))]
        self.assertEqual(kinds, ["retryable", "permanent", "retryable"])

    def test_deliveries_are_told_apart(self):
        self.assertEqual(wire.identify("$JS.ACK.messages.far.2.7.9.1700.0"), "7@1700")
        self.assertEqual(wire.identify("$JS.ACK.hub.hash.messages.far.1.7.8.1700.0.x"), "7@1700")
        self.assertEqual(wire.identify("_INBOX.a.b"), "")


class Settings(unittest.TestCase):
    def test_wrong_ones_are_named(self):
        for name, resources, told in [("a.b", ["app"], "a.b"), ("a", ["*"], "*"), ("a", [], "no type")]:
            with self.assertRaisesRegex(ValueError, told.replace("*", r"\*")):
                remote.Driver(name, resources, None)
        with self.assertRaisesRegex(ValueError, "CONVEYOR_REMOTE__STOP_MS is 'soon'"):
            command.bounds({"CONVEYOR_REMOTE__STOP_MS": "soon"})
        with self.assertRaisesRegex(ValueError, "/no/such.pem"):
            remote.Driver("a", ["app"], None, access=remote.Access(ca="/no/such.pem"))


class Log(unittest.TestCase):
    def test_lines_are_published_in_order_and_the_second_try_is_the_last(self):
        published, failures = [], [remote.Unavailable("gone")]

        class Link:
            async def publish(self, subject, body, name, stream):
                if failures:
                    raise failures.pop()
                published.append((subject, json.loads(body)["message"], stream))

            async def tell(self, subject, body):
                published.append(subject)

        async def attempt():
            log = lines.Lines(wire.decode(message(), "far"), "far", Link())
            log("one")
            await asyncio.to_thread(log, "x" * (lines.LINE_BYTES - 1) + "é", "warn")
            await log.close()

        asyncio.run(attempt())
        cut = "x" * (lines.LINE_BYTES - 1) + "…"
        live = "live.logs.r1.far"
        self.assertEqual(published, [("logs.r1", "one", "logs"), live, ("logs.r1", cut, "logs"), live])


if __name__ == "__main__":
    unittest.main()
