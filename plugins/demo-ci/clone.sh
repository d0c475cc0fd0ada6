#!/bin/sh
# The driver `git`: clones the repository of the resource into the working folder, at its branch, and tells what came.
set -eu

# What an attempt before this one left would be in the way.
find . -mindepth 1 -delete
git clone --quiet --depth 1 --branch "$CONVEYOR_SPEC_BRANCH" "file://$CONVEYOR_SPEC_REPOSITORY" .
echo "at $(git log -1 --format='%h %s')"
# One JSON object as the last line: the data for the steps that follow.
git ls-tree -r -l HEAD | awk -v commit="$(git rev-parse HEAD)" -v subject="$(git log -1 --format=%f)" '
  BEGIN { printf "{\"commit\": \"%s\", \"subject\": \"%s\", \"files\": [", commit, subject }
  { printf "%s{\"path\": \"%s\", \"bytes\": %s}", (NR > 1 ? ", " : ""), $5, $4 }
  END { print "]}" }'
