#include "rules.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

// Where a text stands in a line; the length of the line if it is not there.
static size_t position(const char *line, size_t length, const char *text) {
  size_t size = strlen(text);
  for (size_t at = 0; at + size <= length; at++)
    if (!memcmp(line + at, text, size)) return at;
  return length;
}

static bool contains(const char *line, size_t length, const char *text) { return position(line, length, text) < length; }

// Whether a line has a prefix with at least so many letters and digits behind it.
static bool has_token(const char *line, size_t length, const char *prefix, size_t least) {
  size_t at = 0;
  while ((at += position(line + at, length - at, prefix)) < length) {
    at += strlen(prefix);
    size_t end = at;
    while (end < length && isalnum((unsigned char)line[end])) end++;
    if (end - at >= least) return true;
  }
  return false;
}

// Whether a line has a character that changes the direction of what is shown: U+202A to U+202E, U+2066 to U+2069.
static bool has_direction(const char *line, size_t length) {
  for (size_t at = 0; at + 3 <= length; at++) {
    const unsigned char *bytes = (const unsigned char *)line + at;
    if (bytes[0] != 0xE2) continue;
    if (bytes[1] == 0x80 && bytes[2] >= 0xAA && bytes[2] <= 0xAE) return true;
    if (bytes[1] == 0x81 && bytes[2] >= 0xA6 && bytes[2] <= 0xA9) return true;
  }
  return false;
}

const char *problem_of_line(const char *line, size_t length) {
  static const struct {
    const char *prefix;
    size_t least;
    const char *what;
  } tokens[] = {
      {"AKIA", 16, "an access key of AWS"},
      {"ghp_", 36, "a token of GitHub"},
      {"github_pat_", 22, "a token of GitHub"},
      {"glpat-", 20, "a token of GitLab"},
      {"xoxb-", 10, "a token of Slack"},
  };
  if (length >= 8 && (!memcmp(line, "<<<<<<< ", 8) || !memcmp(line, ">>>>>>> ", 8))) return "a conflict that was not merged";
  if (contains(line, length, "-----BEGIN ") && contains(line, length, "PRIVATE KEY-----")) return "a private key";
  for (size_t index = 0; index < sizeof tokens / sizeof *tokens; index++)
    if (has_token(line, length, tokens[index].prefix, tokens[index].least)) return tokens[index].what;
  if (has_direction(line, length)) return "a character that lets it read other than it runs";
  return NULL;
}
