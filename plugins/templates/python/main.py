"""The driver `{{name}}`: the border to `conveyor driver exec`. What it does is in reconcile.py."""

import json
import sys

from reconcile import reconcile

success, message, data = reconcile(json.load(sys.stdin), lambda line: print(line, flush=True))
# The last line is the result.
print(json.dumps({"message": message, **data}))
sys.exit(0 if success else 1)
