"""Run with `.cache/venv/bin/python -m unittest discover -s plugins/remote-python`; needs nats-py, but no server."""

import json
import pathlib
import tempfile
import unittest

import archive
import wire

METADATA = {
    "version": "1",
    "conveyor.run": "r1",
    "conveyor.step": "keep",
    "conveyor.attempt": "2",
    "driverresults.report": json.dumps({"success": True, "message": "ok", "data": {"markdown": "# Hi\n"}}),
}
RESOURCE = {"id": "i", "name": "app", "resource": "lockfile", "metadata": METADATA, "spec": {"a": 1}}


def message(**changes):
    return json.dumps({"event": "process", "payload": json.dumps(RESOURCE), "id": "0", "run_id": "r1", **changes}).encode()


class Decode(unittest.TestCase):
    def test_a_message(self):
        work = wire.decode(message(), "archive")
        self.assertEqual(work.name, "r1/keep/2")
        self.assertEqual(work.resource, RESOURCE)
        self.assertEqual(work.results["report"]["data"], {"markdown": "# Hi\n"})

    def test_the_context_is_preferred(self):
        results = {"s1": {"driver": "report", "success": True, "message": "", "data": 7}}
        work = wire.decode(message(context={"results": results}), "archive")
        self.assertEqual(work.results, results)

    def test_without_a_pipeline_the_driver_is_the_step(self):
        work = wire.decode(message(payload='{"name": "app", "metadata": null}'), "archive")
        self.assertEqual(work.name, "r1/archive/1")

    def test_what_is_no_message(self):
        for data in [b"", b"\xff", b"[]", b"{}", message(payload={"a": 1}), message(payload="[]"), message(run_id=None)]:
            with self.subTest(data=data), self.assertRaises(wire.Malformed):
                wire.decode(data, "archive")


class Encode(unittest.TestCase):
    def test_the_resource_goes_back_unchanged(self):
        work = wire.decode(message(), "archive")
        event = json.loads(wire.result_event(work, "archive", {"success": True, "message": "ok", "data": None}))
        self.assertEqual(event["resource"], RESOURCE)
        self.assertEqual(event["event"], "driver.result")
        self.assertEqual(event["driverresult"], {"success": True, "message": "ok", "data": None, "driver": "archive"})

    def test_a_log_line(self):
        line = json.loads(wire.log_line(wire.decode(message(), "archive"), "archive", "hello", 12.9))
        expected = {"runid": "r1", "driver": "archive", "pipeline": "", "timestamp": "12", "message": "hello"}
        self.assertEqual(line, expected)

    def test_filters(self):
        self.assertEqual(wire.filters("a", ["t"]), ["resources.t", "drivers.a.resources.t"])
        for name in ["", "a.b", "*", ">", "a b"]:
            with self.subTest(name=name), self.assertRaises(ValueError):
                wire.filters("a", [name])

    def test_file_names_stay_in_the_folder(self):
        for text in ["..", ".", "", "../x", "/etc/passwd", "a/b"]:
            with self.subTest(text=text):
                name = wire.file_name(text)
                self.assertNotIn("/", name)
                self.assertTrue(name.strip("."))


class Write(unittest.TestCase):
    def test_the_files(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "run" / "step"
            work = wire.decode(message(), "archive")
            for _ in range(2):
                self.assertEqual(archive.write(out, work), ["report.md", "resource.json", "result-report.json"])
            self.assertEqual((out / "report.md").read_text(), "# Hi\n")
            self.assertEqual(json.loads((out / "resource.json").read_text()), RESOURCE)
            self.assertEqual(len(list(out.iterdir())), 3)


if __name__ == "__main__":
    unittest.main()
