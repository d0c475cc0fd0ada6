#!/bin/sh
# Calls the driver as `conveyor driver exec` does.
set -eu
said=$(CONVEYOR_EVENT=create CONVEYOR_NAME=one CONVEYOR_SPEC_WHO=belt ./{{name}} </dev/null | tail -1)
[ "$said" = '{"message": "Hello, belt!", "greeting": "Hello, belt!"}' ] || { echo "it said $said" >&2; exit 1; }
