// Run with `node --test plugins/source-check/`; needs nothing but Node.js.
import assert from "node:assert/strict";
import test from "node:test";

import { check } from "./rules.js";

const clone = { data: { commit: "0123456789", subject: "Greets", files: [{ path: "Makefile", bytes: 10 }] } };

test("rules that are kept", () => {
  const rules = { required_files: ["Makefile"], max_file_bytes: 10, subject_length: 6, min_tests: 2 };
  assert.deepEqual(check(rules, { clone }), { checked: 3, problems: [] });
  assert.deepEqual(check(rules, { clone, test: { data: { passed: 2 } } }), { checked: 4, problems: [] });
});

test("rules that are broken", () => {
  const rules = { required_files: ["README"], max_file_bytes: 9, subject_length: 5, min_tests: 3, tests: 1 };
  const { problems } = check(rules, { clone, test: { data: { passed: 2 } } });
  assert.equal(problems.length, 5);
  assert.match(problems.join(), /README is missing.*Makefile has 10.*longer than 5.*fewer than 3.*no rule "tests"/);
});
