"""Prefect's server, where deployments and pools live: reached, or a clear error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.errors import ConfigError, OrchestrationError, ServerUnavailable
from tasks.stage import patiently

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def require_server(purpose: str) -> str:
    """The address of the server that PREFECT_API_URL names.

    Raises:
        ConfigError: it names none, and Prefect's temporary server ends with the process.
    """
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError(
            f"PREFECT_API_URL is not set, and {purpose} a Prefect server that stays. Start one with "
            "`prefect server start`, and export its address, such as "
            "PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    return str(url)


@contextmanager
def prefect_client(purpose: str) -> "Iterator[SyncPrefectClient]":
    """A client of the server; what it cannot be asked is an OrchestrationError.

    Raises:
        ConfigError: PREFECT_API_URL names no server.
        ServerUnavailable: the server is out of reach, or fails.
        OrchestrationError: it refuses a request.
    """
    from prefect.client.orchestration import get_client

    url = require_server(purpose)
    with reaching_server(url), get_client(sync_client=True) as client:
        yield client


def wait_for_server() -> None:
    """Wait until Prefect's server answers, as long as a stage waits for a service.

    Prefect's client waits for a server only after it has reached it once, and a run that begins
    within another has a new client.

    Raises:
        ServerUnavailable: it did not come back.
    """
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():  # a temporary server lives and ends with this process
        patiently(_greet)


def _greet() -> None:
    with prefect_client("a run within another needs") as client:
        client.hello()


@contextmanager
def reaching_server(url: str) -> Iterator[None]:
    """Turn what Prefect's client raises into an error with the next step.

    Raises:
        ServerUnavailable: the server is out of reach, or fails.
        OrchestrationError: it refuses a request.
    """
    import httpx

    try:
        yield
    except httpx.HTTPStatusError as error:
        failed = error.response.status_code >= 500
        raise (ServerUnavailable if failed else OrchestrationError)(
            f"The Prefect server {url} answered {error.response.status_code}: "
            f"{error.response.text[:500]}. Its log says more; it should run Prefect 3.8 or later."
        ) from error
    except (httpx.HTTPError, RuntimeError) as error:
        # At its first contact the client tells the error of its connection as a RuntimeError.
        cause = error if isinstance(error, httpx.HTTPError) else error.__cause__
        if not isinstance(cause, httpx.HTTPError):
            raise
        told = str(cause) or type(cause).__name__
        raise ServerUnavailable(
            f"The Prefect server {url} is out of reach: {told}. Start it, or correct "
            "PREFECT_API_URL, then repeat this command."
        ) from error
