import assert from "node:assert/strict";
import test from "node:test";

import { parse } from "./dockerfile.js";
import { check } from "./rules.js";

function broken(dockerfile: string): string[] {
  return check(parse(dockerfile), new Set()).map(({ line, rule }) => `${line} ${rule}`);
}

test("a Dockerfile that keeps all rules", () => {
  const dockerfile = `# syntax=docker/dockerfile:1
FROM --platform=linux/amd64 rust:1.95 AS build
RUN apt-get update && \\
    # only what is needed
    apt-get install -y --no-install-recommends make \\
    && rm -rf /var/lib/apt/lists/*
RUN <<END
sudo is only a word here
END
FROM build AS test
FROM scratch
COPY --from=build /app /app
USER 1000:1000
`;
  assert.deepEqual(broken(dockerfile), []);
  assert.equal(parse(dockerfile).length, 7);
});

test("each rule finds what breaks it", () => {
  const user = "\nUSER app";
  for (const [dockerfile, ...expected] of [
    ["FROM debian", "1 pinned-image", "1 other-user"],
    [`FROM debian:latest${user}`, "1 pinned-image"],
    [`FROM registry:5000/debian${user}`, "1 pinned-image"],
    [`FROM debian@sha256:00${user}`],
    ["FROM debian:12\nUSER app\nUSER root:root", "1 other-user"],
    [`FROM a:1\nADD https://example.org/a.tar /a${user}`, "2 no-remote-add"],
    [`FROM a:1\nADD --checksum=sha256:00 https://example.org/a.tar /a${user}`],
    [`FROM a:1\nRUN apt-get -y install git${user}`, "2 apt-lists"],
    [`FROM a:1\nRUN true && sudo make${user}`, "2 no-sudo"],
    [`FROM a:1\nRUN curl -sSf https://example.org/x | sh${user}`, "2 no-piped-script"],
    [`FROM a:1\nARG NPM_TOKEN=abc\nENV PORT=1${user}`, "2 no-secret"],
  ] as [string, ...string[]][]) {
    assert.deepEqual(broken(dockerfile), expected, dockerfile);
  }
});
