// Runs on the machine itself, without a host.
#include <stdio.h>
#include <string.h>

#include "conveyor.h"
#include "rules.h"

static int failed;

static void expect(const char *what, const char *found, const char *wanted) {
  if (found == wanted || (found && wanted && strstr(found, wanted))) return;
  fprintf(stderr, "%s: %s, expected %s\n", what, found ? found : "nothing", wanted ? wanted : "nothing");
  failed = 1;
}

static void expect_line(const char *line, const char *wanted) { expect(line, problem_of_line(line, strlen(line)), wanted); }

static void expect_result(const char *spec, conveyor_outcome outcome, const char *message, const char *data) {
  conveyor_request request = {.resource = {.spec = spec}, .context = "{}"};
  conveyor_result result = reconcile(&request);
  if (result.outcome != outcome) expect(spec, "another outcome", message);
  expect(spec, result.message, message);
  expect(spec, result.data, data);
}

static void expect_text(const char *json, const char *path, const char *wanted) {
  expect(json, json_text(json_at(json, path)), wanted);
}

int main(void) {
  // Put together, so that this file holds nothing that the rules find.
  expect_line("key: AKIA" "ABCDEFGHIJKLMNOP", "AWS");
  expect_line("key: AKIA" "SHORT, AKIA", NULL);
  expect_line("-----BEGIN " "RSA PRIVATE KEY-----", "private key");
  expect_line("-----BEGIN CERTIFICATE-----", NULL);
  expect_line("<<<<<<" "< HEAD", "conflict");
  expect_line("<<<<<<", NULL);
  expect_line("if (admin\xE2\x80\xAE) {", "other than it runs");
  expect_line("\xE2\x80\x9Cquoted\xE2\x80", NULL);

  expect_text("{\"a\": [1, {\"b\": \"x\\u00e9\\ud83d\\ude00\\n\"}]}", "a.1.b", "x\xC3\xA9\xF0\x9F\x98\x80\n");
  expect_text("{\"a\": \"\\u0000\"}", "a", NULL);
  expect_text("{\"a\": \"\\ud83d\"}", "a", NULL);
  expect_text("{\"a\": [1, [", "a.1.0", NULL);
  expect_text("{\"a", "a", NULL);
  expect("quoted", json_quoted("a\"\\\x01"), "\"a\\\"\\\\\\u0001\"");

  expect_result("{\"files\": {\"a\": \"x\\n\", \"b\": \"\"}}", CONVEYOR_SUCCESS, "2 texts", "\"problems\": []");
  expect_result("{\"files\": {\"a\\\"\": \"\\n>>>>>>" "> theirs\\n\"}}", CONVEYOR_FAILURE, "a\":2 has a conflict",
                "{\"file\": \"a\\\"\", \"line\": 2, ");
  expect_result("{\"files\": {\"a\": 1}}", CONVEYOR_PERMANENT, "a text", NULL);
  expect_result("{}", CONVEYOR_PERMANENT, "no object files", NULL);
  return failed;
}
