// The driver {{name}}, for `conveyor driver exec`. What is plain and small in the request is in the environment; the whole of
// it is JSON on standard input.
#include <stdio.h>
#include <stdlib.h>

// The variable, or a text if there is none.
static const char *variable(const char *name, const char *without) {
  const char *value = getenv(name);
  return value ? value : without;
}

int main(void) {
  const char *who = getenv("CONVEYOR_SPEC_WHO");
  printf("%s of %s\n", variable("CONVEYOR_EVENT", "?"), variable("CONVEYOR_NAME", "?"));
  if (!who) {
    fprintf(stderr, "the spec has no field who\n");
    return 2;
  }
  // The last line is the result: one JSON object. Texts of others would have to be quoted.
  printf("{\"message\": \"Hello, %s!\", \"greeting\": \"Hello, %s!\"}\n", who, who);
  return 0;
}
