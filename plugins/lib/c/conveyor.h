// What a driver of Conveyor that is a component is written against. The driver's project has a copy of its own.
//
// An instance lives for one call, so that nothing needs to be freed. All texts are UTF-8 and end with a NUL.
#ifndef CONVEYOR_H
#define CONVEYOR_H

#include <stdbool.h>
#include <stdint.h>

// What is acted on.
typedef struct {
  const char *id;
  const char *name;
  // The name of its definition.
  const char *type;
  const char *version;
  // JSON.
  const char *spec;
} conveyor_resource;

// One attempt of one step of one run. Run, step and attempt are the same whenever this attempt is delivered again: they are
// the key for effects that must not happen twice.
typedef struct {
  const char *run_id;
  const char *step;
  uint32_t attempt;
  // create, update or delete.
  const char *event;
  conveyor_resource resource;
  // JSON: pipeline, metadata, and the results of earlier steps by step id, each with success, message and data.
  const char *context;
} conveyor_request;

typedef enum {
  // It achieved what it is for.
  CONVEYOR_SUCCESS,
  // It did its work, and the answer is no: that ends the run, with the message as the reason.
  CONVEYOR_FAILURE,
  // It could not do its work, and another try may help.
  CONVEYOR_RETRYABLE,
  // It could not do its work, and no other try will help: the spec makes no sense.
  CONVEYOR_PERMANENT,
} conveyor_outcome;

// What a driver says of an attempt.
typedef struct {
  conveyor_outcome outcome;
  // One line for people.
  const char *message;
  // JSON for the steps that follow, or none. Only of CONVEYOR_SUCCESS and CONVEYOR_FAILURE.
  const char *data;
} conveyor_result;

typedef enum { CONVEYOR_DEBUG, CONVEYOR_INFO, CONVEYOR_WARN, CONVEYOR_ERROR } conveyor_level;

#define CONVEYOR_FORMAT(text, first) __attribute__((format(printf, text, first)))

// The driver: acts on the resource once. You write it.
conveyor_result reconcile(const conveyor_request *request);

// Logs a line.
void conveyor_log(conveyor_level level, const char *format, ...) CONVEYOR_FORMAT(2, 3);

// A new text.
char *conveyor_text(const char *format, ...) CONVEYOR_FORMAT(1, 2);

// The value at a path in a JSON text, such as "files.0.name", which points into the text; NULL if there is none. Without a
// path it is the whole.
const char *json_at(const char *json, const char *path);

// The text that a JSON value is, or NULL if it is none or has a NUL inside.
char *json_text(const char *value);

// Whether a JSON value is a number, and which.
bool json_number(const char *value, double *number);

// Whether a JSON value is true.
bool json_true(const char *value);

// A text as JSON.
char *json_quoted(const char *text);

// The members of a JSON object, or the elements of an array: begin with {.of = value}, and go on while it is true.
typedef struct {
  const char *of;
  // Of a member.
  char *key;
  const char *value;
} json_item;
bool json_next(json_item *item);

#endif
