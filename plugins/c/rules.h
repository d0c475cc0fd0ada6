// What is wrong with a line of a text. Knows nothing of drivers.
#ifndef RULES_H
#define RULES_H

#include <stddef.h>

// What should not be in a line of this length, or NULL. What a secret is made of is never part of the answer.
const char *problem_of_line(const char *line, size_t length);

#endif
