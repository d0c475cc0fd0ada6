// The border to the host, as the canonical ABI of components lays out what wit/driver.wit says.
#include "conveyor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *written(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  size_t room = (size_t)vsnprintf(NULL, 0, format, again) + 1;
  va_end(again);
  char *text = malloc(room);
  if (!text) abort();
  vsnprintf(text, room, format, arguments);
  return text;
}

char *conveyor_text(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *text = written(format, arguments);
  va_end(arguments);
  return text;
}

#ifdef __wasm__

#define CONTRACT "@0.1.0"

__attribute__((import_module("conveyor:driver/host-log" CONTRACT), import_name("log"))) void host_log(
    conveyor_level level, const char *text, size_t length);

typedef struct {
  const char *at;
  size_t length;
} text;

typedef struct {
  text run_id, step;
  uint32_t attempt;
  text event, id, name, type, version, spec, context;
} asked;

// result<driver-result, failure>.
typedef struct {
  bool failed;
  union {
    struct {
      bool success;
      text message, data;
    } result;
    struct {
      bool permanent;
      text message;
    } failure;
  };
} answer;

static const char *received(text from) {
  char *copy = malloc(from.length + 1);
  if (!copy) abort();
  memcpy(copy, from.at, from.length);
  copy[from.length] = 0;
  return copy;
}

static text sent(const char *line) {
  if (!line) line = "";
  return (text){line, strlen(line)};
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_length, size_t align, size_t length) {
  // The alignment of malloc is enough for every type, and a text of no length needs an address too.
  (void)old_length, (void)align;
  void *room = realloc(old, length ? length : 1);
  if (!room) abort();
  return room;
}

__attribute__((export_name("conveyor:driver/reconciler" CONTRACT "#reconcile"))) answer *conveyor_reconcile(asked *from) {
  static answer to;
  conveyor_request request = {
      .run_id = received(from->run_id),
      .step = received(from->step),
      .attempt = from->attempt,
      .event = received(from->event),
      .resource = {.id = received(from->id),
                   .name = received(from->name),
                   .type = received(from->type),
                   .version = received(from->version),
                   .spec = received(from->spec)},
      .context = received(from->context),
  };
  conveyor_result result = reconcile(&request);
  bool success = result.outcome == CONVEYOR_SUCCESS;
  if (success || result.outcome == CONVEYOR_FAILURE) {
    to.result.success = success;
    to.result.message = sent(result.message);
    to.result.data = sent(result.data ? result.data : "null");
  } else {
    to.failed = true;
    to.failure.permanent = result.outcome == CONVEYOR_PERMANENT;
    to.failure.message = sent(result.message);
  }
  return &to;
}

void conveyor_log(conveyor_level level, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *line = written(format, arguments);
  va_end(arguments);
  host_log(level, line, strlen(line));
}

#else

// Where there is no host: in the driver's own tests.
void conveyor_log(conveyor_level level, const char *format, ...) {
  static const char *const names[] = {"debug", "info", "warn", "error"};
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: %s\n", names[level], written(format, arguments));
  va_end(arguments);
}

#endif
