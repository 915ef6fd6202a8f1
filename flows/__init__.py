"""Prefect flows, each a table of contents of what happens; and the command line."""

from tasks.environment import prepare_environment

# Importing any flow (a worker does it by entry point) must find telemetry off already.
prepare_environment()
