// Runs on the machine itself, without a host.
#include <stdio.h>
#include <string.h>

#include "conveyor.h"

static int failed;

static void expect(const char *spec, conveyor_outcome outcome, const char *message) {
  conveyor_request request = {.event = "create", .resource = {.name = "one", .spec = spec}, .context = "{}"};
  conveyor_result result = reconcile(&request);
  if (result.outcome != outcome || strcmp(result.message, message)) {
    fprintf(stderr, "%s: it said %s\n", spec, result.message);
    failed = 1;
  }
}

int main(void) {
  expect("{\"who\": \"belt\"}", CONVEYOR_SUCCESS, "Hello, belt!");
  expect("{}", CONVEYOR_PERMANENT, "the spec has no text who");
  return failed;
}
