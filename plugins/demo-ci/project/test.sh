#!/bin/sh
# Says what is tested, and as its last line how it went, for the steps that follow.
passed=0 failed=0

# expect TEXT COMMAND...
expect() {
  wanted=$1
  shift
  if [ "$("$@")" = "$wanted" ]; then
    echo "ok: $*"
    passed=$((passed + 1))
  else
    echo "not ok: $* does not say '$wanted'" >&2
    failed=$((failed + 1))
  fi
}

expect 'Hello, world!' ./greet
expect 'Hello, belt!' ./greet belt
echo "{\"passed\": $passed, \"failed\": $failed}"
[ "$failed" = 0 ]
