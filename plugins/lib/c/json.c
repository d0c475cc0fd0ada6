// Reads and writes JSON, as far as a driver needs it. The host gives only valid JSON; whatever else is read, no function
// reads behind the end of the text.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conveyor.h"

// Loops instead of strspn and its like: those of some libraries look for the end of the text first, which can be far.

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static const char *blank(const char *at) {
  while (is_blank(*at)) at++;
  return at;
}

// Behind the string that begins at a quote.
static const char *behind_string(const char *at) {
  for (at++; *at && *at != '"'; at++)
    if (*at == '\\' && at[1]) at++;
  return *at ? at + 1 : at;
}

// Behind the value that begins here.
static const char *behind(const char *at) {
  if (*at == '"') return behind_string(at);
  if (*at != '{' && *at != '[') {
    while (*at && *at != ',' && *at != ']' && *at != '}' && !is_blank(*at)) at++;
    return at;
  }
  size_t depth = 0;
  while (*at) {
    if (*at == '"') {
      at = behind_string(at);
      continue;
    }
    if (*at == '{' || *at == '[') depth++;
    if ((*at == '}' || *at == ']') && --depth == 0) return at + 1;
    at++;
  }
  return at;
}

bool json_next(json_item *item) {
  if (!item->of) return false;
  const char *at = blank(item->value ? behind(item->value) : item->of);
  if (!item->value && *at != '{' && *at != '[') return false;
  // Before the first value is the bracket, before every other one a comma.
  if (item->value && *at != ',') return false;
  at = blank(at + 1);
  if (!*at || *at == '}' || *at == ']') return false;
  if (*blank(item->of) == '{') {
    item->key = json_text(at);
    at = blank(behind(at));
    if (*at != ':') return false;
    at = blank(at + 1);
  }
  item->value = at;
  return true;
}

const char *json_at(const char *json, const char *path) {
  if (!json || !*path) return json ? blank(json) : NULL;
  size_t length = strcspn(path, ".");
  json_item item = {.of = json};
  for (size_t index = 0; json_next(&item); index++) {
    char number[24];
    snprintf(number, sizeof number, "%zu", index);
    const char *name = *blank(json) == '{' ? item.key : number;
    if (name && strlen(name) == length && !memcmp(name, path, length)) {
      path += length;
      return json_at(item.value, *path ? path + 1 : path);
    }
  }
  return NULL;
}

// The four hexadecimal digits here; -1 if they are none.
static long unit(const char *at) {
  char digits[5] = {0};
  for (size_t index = 0; index < 4; index++) {
    if (!isxdigit((unsigned char)at[index])) return -1;
    digits[index] = at[index];
  }
  return strtol(digits, NULL, 16);
}

static char *encode(char *to, unsigned long point) {
  if (point < 0x80) {
    *to++ = (char)point;
  } else if (point < 0x800) {
    *to++ = (char)(0xC0 | point >> 6);
    *to++ = (char)(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    *to++ = (char)(0xE0 | point >> 12);
    *to++ = (char)(0x80 | (point >> 6 & 0x3F));
    *to++ = (char)(0x80 | (point & 0x3F));
  } else {
    *to++ = (char)(0xF0 | point >> 18);
    *to++ = (char)(0x80 | (point >> 12 & 0x3F));
    *to++ = (char)(0x80 | (point >> 6 & 0x3F));
    *to++ = (char)(0x80 | (point & 0x3F));
  }
  return to;
}

// The character of an escape that begins with \u, and how long the escape is; 0 if it is none.
static unsigned long escaped(const char *at, size_t *length) {
  long high = unit(at + 2), low = 0;
  *length = 6;
  if (high < 0xD800 || high > 0xDFFF) return high > 0 ? (unsigned long)high : 0;
  if (high > 0xDBFF || at[6] != '\\' || at[7] != 'u' || (low = unit(at + 8)) < 0xDC00 || low > 0xDFFF) return 0;
  *length = 12;
  return 0x10000UL + ((unsigned long)(high - 0xD800) << 10) + (unsigned long)(low - 0xDC00);
}

char *json_text(const char *value) {
  if (!value || *(value = blank(value)) != '"') return NULL;
  // No character is longer than its escape.
  char *text = malloc((size_t)(behind_string(value) - value) + 1), *to = text;
  if (!text) abort();
  for (value++; *value && *value != '"'; value++) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (*value != '\\') {
      *to++ = *value;
      continue;
    }
    if (value[1] == 'u') {
      size_t length;
      unsigned long point = escaped(value, &length);
      if (!point) return NULL;
      to = encode(to, point);
      value += length - 1;
      continue;
    }
    const char *name = value[1] ? strchr(names, value[1]) : NULL;
    if (!name) return NULL;
    *to++ = meant[name - names];
    value++;
  }
  *to = 0;
  return text;
}

bool json_number(const char *value, double *number) {
  if (!value) return false;
  char *end;
  value = blank(value);
  *number = strtod(value, &end);
  return end > value && (*value == '-' || (*value >= '0' && *value <= '9'));
}

bool json_true(const char *value) { return value && !strncmp(blank(value), "true", 4); }

char *json_quoted(const char *text) {
  char *quoted = malloc(strlen(text) * 6 + 3), *to = quoted;
  if (!quoted) abort();
  *to++ = '"';
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') {
      *to++ = '\\';
      *to++ = *text;
    } else if ((unsigned char)*text < 0x20) {
      to += sprintf(to, "\\u%04x", (unsigned)*text);
    } else {
      *to++ = *text;
    }
  }
  *to++ = '"';
  *to = 0;
  return quoted;
}
