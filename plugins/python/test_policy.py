"""Run with `python3 -m unittest discover -s plugins/python`; needs nothing but Python."""

import unittest

import policy
import spdx
import versions

INVENTORY = {
    "count": 3,
    "packages": [
        {"name": "app", "version": "0.1.0", "source": None, "dependencies": 2},
        {"name": "ring", "version": "0.17.8", "source": "registry", "dependencies": 1},
        {"name": "serde", "version": "1.0.200", "source": "registry", "dependencies": 0},
    ],
    "duplicates": [{"name": "syn", "versions": ["1.0.0", "2.0.0"]}],
}
LICENCES = {"ring 0.17.8": "Apache-2.0 AND ISC", "serde 1.0.200": "MIT OR Apache-2.0"}


class Spdx(unittest.TestCase):
    def test_expressions(self):
        cases = [
            ("MIT", ["MIT"], True),
            ("MIT", ["ISC"], False),
            ("mit or GPL-3.0", ["MIT"], True),
            ("MIT/Apache-2.0", ["Apache-2.0"], True),
            ("MIT AND GPL-3.0", ["MIT"], False),
            ("MIT OR GPL-3.0 AND ISC", ["MIT"], True),
            ("(MIT OR GPL-3.0) AND ISC", ["MIT"], False),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", ["MIT", "Unicode-3.0"], True),
            ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"], True),
            ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0 WITH LLVM-exception"], True),
            ("GPL-2.0 WITH Classpath-exception-2.0", ["GPL-2.0 WITH LLVM-exception"], False),
            ("LGPL-2.1+", ["LGPL-2.1"], True),
            ("LicenseRef-ours", ["licenseref-OURS"], True),
        ]
        for expression, allowed, expected in cases:
            with self.subTest(expression=expression, allowed=allowed):
                self.assertEqual(spdx.allows(expression, allowed), expected)

    def test_what_is_no_expression(self):
        for expression in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "MIT & ISC"]:
            with self.subTest(expression=expression), self.assertRaises(spdx.ExpressionError):
                spdx.allows(expression, ["MIT"])


class Versions(unittest.TestCase):
    def test_ranges(self):
        cases = [
            ("1.2.3", "*", True),
            ("1.2.3", "1.2.3", True),
            ("0.3.1+build", "=0.3.1", True),
            ("1.2.2", "<1.2.3", True),
            ("1.2.3", "<1.2.3", False),
            ("1.10.0", "<1.9", False),
            ("1.5.0", ">=1, <2", True),
            ("2.0.0", ">=1, <2", False),
            ("1.0.0-rc.2", "<1.0.0", True),
            ("1.0.0-rc.10", ">1.0.0-rc.9", True),
            ("1.0.0-rc.1", "<1.0.0-alpha", False),
        ]
        for version, range_text, expected in cases:
            with self.subTest(version=version, range=range_text):
                self.assertEqual(versions.matches(version, range_text), expected)

    def test_what_is_no_range(self):
        for range_text in ["", "newest", "~1.2", "<", "1.x"]:
            with self.subTest(range=range_text), self.assertRaises(versions.RangeError):
                versions.matches("1.0.0", range_text)


class Policy(unittest.TestCase):
    def test_a_policy_that_is_kept(self):
        rules = {"allowed_licences": ["MIT", "Apache-2.0", "ISC"], "denied": [], "max_duplicates": 1}
        violations, statistics = policy.check(INVENTORY, LICENCES, rules)
        self.assertEqual(violations, [])
        self.assertEqual(statistics["own"], 1)
        self.assertEqual(statistics["licences"], {"Apache-2.0 AND ISC": 1, "MIT OR Apache-2.0": 1})
        self.assertEqual(policy.message(violations, statistics), "3 packages keep the policy")

    def test_every_kind_of_violation(self):
        rules = {
            "allowed_licences": ["MIT"],
            "denied": [{"name": "serde", "versions": "<2", "reason": "tired of it"}, {"name": "ring", "versions": "=1"}],
            "max_duplicates": 0,
        }
        violations, statistics = policy.check(INVENTORY, LICENCES, rules)
        self.assertEqual([violation["kind"] for violation in violations], ["denied", "licence", "duplicates"])
        text = policy.message(violations, statistics)
        self.assertTrue(text.startswith("3 violations of the policy: serde 1.0.200 is denied (<2): tired of it; "), text)
        self.assertIn("ring 0.17.8 is licensed under Apache-2.0 AND ISC", text)

    def test_a_licence_that_nobody_knows(self):
        violations, _ = policy.check(INVENTORY, {"ring 0.17.8": "MIT ?"}, {"allowed_licences": ["MIT"]})
        self.assertEqual([violation["kind"] for violation in violations], ["licence-unknown"] * 2)

    def test_the_message_names_only_the_first(self):
        violations = [{"message": f"v{number}"} for number in range(5)]
        self.assertEqual(policy.message(violations, {}), "5 violations of the policy: v0; v1; v2; and 2 more")

    def test_policies_that_make_no_sense(self):
        for rules in [
            {"allowed_licences": "MIT"},
            {"max_duplicates": "3"},
            {"denied": ["serde"]},
            {"denied": [{"name": "serde", "versions": "soon"}]},
        ]:
            with self.subTest(rules=rules), self.assertRaises(policy.PolicyError):
                policy.check(INVENTORY, LICENCES, rules)

    def test_the_earlier_result_is_found_by_driver(self):
        results = {
            "a": {"driver": "other", "success": True, "data": 1},
            "b": {"driver": "lock-parse", "success": True, "data": 2},
        }
        self.assertEqual(policy.earlier_result({"results": results}, "lock-parse"), 2)
        with self.assertRaises(policy.PolicyError):
            policy.earlier_result({"results": {}}, "lock-parse")


if __name__ == "__main__":
    unittest.main()
