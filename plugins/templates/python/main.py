"""The driver `{{name}}`, over NATS. What it does is in reconcile.py."""

import remote
from reconcile import reconcile

if __name__ == "__main__":
    remote.main("{{name}}", [{{resources}}], reconcile)
