// The driver `text-check`: looks through the texts of a release for what must not be published.
#include <stddef.h>

#include "conveyor.h"
#include "rules.h"

// What was found so far.
typedef struct {
  size_t files;
  size_t count;
  // The first problem.
  const char *first;
  // The elements of a JSON array.
  const char *problems;
} findings;

static const char *plural(size_t count) { return count == 1 ? "" : "s"; }

static void add(findings *found, const char *file, size_t line, const char *what) {
  const char *told = conveyor_text("%s:%zu has %s", file, line, what);
  conveyor_log(CONVEYOR_WARN, "%s", told);
  if (!found->count++) found->first = told;
  found->problems = conveyor_text("%s%s{\"file\": %s, \"line\": %zu, \"problem\": %s}", found->problems,
                                  found->count > 1 ? ", " : "", json_quoted(file), line, json_quoted(what));
}

static void check(findings *found, const char *file, const char *text) {
  found->files++;
  size_t line = 0;
  while (*text) {
    size_t length = 0;
    while (text[length] && text[length] != '\n') length++;
    line++;
    const char *what = problem_of_line(text, length);
    if (what) add(found, file, line, what);
    text += length;
    if (*text) text++;
  }
}

conveyor_result reconcile(const conveyor_request *request) {
  json_item file = {.of = json_at(request->resource.spec, "files")};
  if (!file.of || *file.of != '{') return (conveyor_result){CONVEYOR_PERMANENT, "the spec has no object files", NULL};
  findings found = {.problems = ""};
  while (json_next(&file)) {
    const char *text = json_text(file.value);
    if (!file.key || !text) {
      return (conveyor_result){CONVEYOR_PERMANENT, "files must give a text without NUL for each name", NULL};
    }
    check(&found, file.key, text);
  }
  const char *data = conveyor_text("{\"files\": %zu, \"problems\": [%s]}", found.files, found.problems);
  if (!found.count) {
    return (conveyor_result){CONVEYOR_SUCCESS, conveyor_text("%zu text%s can be published", found.files, plural(found.files)), data};
  }
  const char *message = conveyor_text("%zu problem%s; the first: %s", found.count, plural(found.count), found.first);
  return (conveyor_result){CONVEYOR_FAILURE, message, data};
}
