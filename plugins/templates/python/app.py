"""The driver `{{name}}` as a component. What it does is in reconcile.py."""

from conveyor.component import component
from reconcile import reconcile

# componentize-py finds the class that is exported by its name.
Reconciler = component(reconcile)
