"""Process-wide settings of the libraries we stand on, made before any of them is imported.

Telemetry off, state under one home folder, consoles quiet. Every value is a default: what the
operator has set in the environment wins (a Prefect server's address, another logging level).
"""

import os
from pathlib import Path

_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    # Our own lines tell the day's story; Prefect's go to its server, where its UI shows them.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "dayspring",
    # A stage called outside a flow, as tests do, has no run to send its lines to.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # A machine with two busy cores needs longer than the default 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A server whose database is restarted answers 500; each request is tried for two minutes, as
    # a stage is.
    "PREFECT_CLIENT_MAX_RETRIES": "6",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    # Tokenizers are called from one thread; forking workers would only warn.
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin while they wait made small steps 200 times slower on a busy machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TQDM_DISABLE": "1",
    "MPLBACKEND": "Agg",
}

WORKER_ENVIRONMENT = {
    name: _DEFAULTS[name]
    for name in (
        "DO_NOT_TRACK",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS",
        "PREFECT_LOGGING_EXTRA_LOGGERS",
        "PREFECT_CLIENT_MAX_RETRIES",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES",
    )
}
"""What a run that a worker starts must find set: there, Prefect is imported before we are."""


def prepare_environment() -> None:
    """Set every default that the operator has not set; safe to call again."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def keep_state_under(home: Path) -> None:
    """Let Prefect's embedded server keep its database and results under `home`.

    A process that Prefect itself started (a worker's) has its home set already, and keeps it.
    """
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    # Prefect makes its home, but not the folders above it.
    home.mkdir(parents=True, exist_ok=True)
