import unittest

from conveyor import Permanent
from reconcile import reconcile


def request(spec):
    return {"event": "create", "resource": {"name": "one", "spec": spec}, "context": {}}


class Reconcile(unittest.TestCase):
    def test_it_greets(self):
        lines = []
        result = reconcile(request({"who": "belt"}), lines.append)
        self.assertEqual(result, (True, "Hello, belt!", {"greeting": "Hello, belt!"}))
        self.assertEqual(lines, ["create of one"])

    def test_it_needs_a_name(self):
        with self.assertRaises(Permanent):
            reconcile(request({}), print)


if __name__ == "__main__":
    unittest.main()
