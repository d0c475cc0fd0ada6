// Run with `node --test plugins/javascript/`; needs nothing but Node.js.
import assert from "node:assert/strict";
import test from "node:test";

import { InputError, write } from "./report.js";

const target = { name: "app", version: "2", resourceType: "lockfile" };
const inventory = {
  count: 2,
  packages: [
    { name: "app", version: "0.1.0", source: null, dependencies: 3 },
    { name: "syn", version: "2.0.0", source: "registry", dependencies: 0 },
  ],
  duplicates: [{ name: "syn", versions: ["1.0.0", "2.0.0"] }],
};
const parsed = { driver: "lock-parse", success: true, data: inventory };

function checked(violations) {
  return { driver: "policy-check", success: true, data: { violations, statistics: { licences: { MIT: 1 } } } };
}

test("a kept policy", () => {
  const { markdown, summary } = write(target, { results: { parse: parsed, check: checked([]) } });
  assert.match(markdown, /^# Supply chain of app\n/);
  assert.match(markdown, /Kept: no violation/);
  assert.match(markdown, /\| MIT \| 1 \|/);
  assert.match(markdown, /\| syn \| 1\.0\.0, 2\.0\.0 \|/);
  assert.match(markdown, /\| app 0\.1\.0 \| 3 \|/);
  assert.deepEqual(summary, {
    resource: "app",
    version: "2",
    packages: 2,
    duplicates: 1,
    violations: 0,
    checked: true,
    steps: ["check", "parse"],
  });
});

test("a broken policy, with text that looks like markup", () => {
  const violations = [{ kind: "denied", message: "a|b\n<script>" }];
  const { markdown } = write(target, { results: { parse: parsed, check: checked(violations) } });
  assert.match(markdown, /\| denied \| a\\\|b \\<script\\> \|/);
});

test("a long list is cut", () => {
  const violations = Array.from({ length: 20 }, (_, index) => ({ kind: "licence", message: `v${index}` }));
  const { markdown, summary } = write(target, { results: { parse: parsed, check: checked(violations) } });
  assert.match(markdown, /… and 5 more\./);
  assert.equal(summary.violations, 20);
});

test("without a check the report says so", () => {
  const { markdown, summary } = write(target, { results: { parse: parsed } });
  assert.match(markdown, /Not checked/);
  assert.equal(summary.checked, false);
});

test("without a parsed lock file there is nothing to report", () => {
  assert.throws(() => write(target, { results: {} }), InputError);
  assert.throws(() => write(target, {}), InputError);
});
