import unittest

from reconcile import reconcile


class Reconcile(unittest.TestCase):
    def test_it_greets(self):
        request = {"event": "create", "resource": {"name": "one", "spec": {"who": "belt"}}, "context": {}}
        lines = []
        self.assertEqual(reconcile(request, lines.append), (True, "Hello, belt!", {"greeting": "Hello, belt!"}))
        self.assertEqual(lines, ["create of one"])


if __name__ == "__main__":
    unittest.main()
