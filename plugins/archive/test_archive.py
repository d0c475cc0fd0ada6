"""Run with `.cache/venv/bin/python -m unittest discover -s plugins/archive`; needs nats-py, but no server."""

import argparse
import json
import pathlib
import tempfile
import unittest

import archive

RESOURCE = {"id": "i", "name": "app", "resource": "lockfile", "metadata": {"version": "1"}, "spec": {"a": 1}}
RESULTS = {"report": {"driver": "report", "success": True, "message": "ok", "data": {"markdown": "# Hi\n"}}}


class Archive(unittest.TestCase):
    def test_the_files(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "run" / "step"
            for _ in range(2):
                self.assertEqual(archive.write(out, RESOURCE, RESULTS), ["report.md", "resource.json", "result-report.json"])
            self.assertEqual((out / "report.md").read_text(), "# Hi\n")
            self.assertEqual(json.loads((out / "resource.json").read_text()), RESOURCE)
            self.assertEqual(len(list(out.iterdir())), 3)

    def test_a_folder_that_cannot_be_made_is_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "run").write_text("in the way")
            options = argparse.Namespace(out=pathlib.Path(folder), delay=0, fail=None)
            request = {"run_id": "run", "step": "keep", "attempt": 1, "resource": RESOURCE, "context": {"results": {}}}
            success, message, _ = archive.reconcile(options, request, print)
            self.assertFalse(success)
            self.assertIn("cannot write the archive", message)

    def test_file_names_stay_in_the_folder(self):
        for text in ["..", ".", "", "../x", "/etc/passwd", "a/b"]:
            with self.subTest(text=text):
                name = archive.file_name(text)
                self.assertNotIn("/", name)
                self.assertTrue(name.strip("."))


if __name__ == "__main__":
    unittest.main()
