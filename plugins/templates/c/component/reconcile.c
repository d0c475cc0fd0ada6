// The driver {{name}}.
#include <stddef.h>

#include "conveyor.h"

conveyor_result reconcile(const conveyor_request *request) {
  conveyor_log(CONVEYOR_INFO, "%s of %s", request->event, request->resource.name);
  const char *who = json_text(json_at(request->resource.spec, "who"));
  if (!who) {
    return (conveyor_result){CONVEYOR_PERMANENT, "the spec has no text who", NULL};
  }
  char *greeting = conveyor_text("Hello, %s!", who);
  char *data = conveyor_text("{\"greeting\": %s}", json_quoted(greeting));
  return (conveyor_result){CONVEYOR_SUCCESS, greeting, data};
}
