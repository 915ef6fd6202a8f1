"""The way of a message to people, by Apprise: bounded in time, and its secrets kept."""

import logging
import threading
from typing import TYPE_CHECKING

from tasks.errors import ConfigError
from tasks.notices.words import Message

if TYPE_CHECKING:
    from apprise import NotifyBase

PATIENCE_SECONDS = 15.0
"""A place that has not taken a message by then is given up."""


def check_address(url: str) -> None:
    """Refuse what Apprise cannot send to; nothing is sent.

    Raises:
        ConfigError: names the scheme only, for the rest of an address is often a secret.
    """
    if _plugin(url) is None:
        scheme = url.partition("://")[0] if "://" in url else ""
        raise ConfigError(
            f"{scheme + '://…' if scheme else 'a text without ://'} is no address that Apprise can "
            "send to: write one such as slack://…, mailto://… or json://host:port/path"
        )


def send(url: str, message: Message, *, patience_seconds: float = PATIENCE_SECONDS) -> str | None:
    """Deliver `message`; returns None, or in words where it did not arrive, without secrets."""
    plugin = _plugin(url)
    if plugin is None:
        return f"{url.partition(':')[0]}://… is no address that Apprise can send to"
    delivered: list[bool] = []

    def deliver() -> None:
        delivered.append(bool(plugin.notify(body=message.body, title=message.title)))

    # A thread, for some of Apprise's services know no time limit; the process does not wait for it.
    sending = threading.Thread(target=deliver, daemon=True)
    sending.start()
    sending.join(patience_seconds)
    if delivered == [True]:
        return None
    why = f"not within {patience_seconds:g} s" if sending.is_alive() else "refused or out of reach"
    return f"{plugin.url(privacy=True)}: {why}"


def _plugin(url: str) -> "NotifyBase | None":
    from apprise import Apprise

    # Apprise logs what it does, addresses included; we say in one line what did not arrive.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return Apprise.instantiate(url)
