"""Ports of 127.0.0.1 for services that come back on the same port after a crash."""

import random
import socket

from infra.local.errors import StackError

HOST = "127.0.0.1"

# Below every system's range for outgoing connections (Linux 32768, macOS 49152): a connection that
# happened to take a dead service's port would keep it from coming back.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports that are free now, drawn at random so that two stacks hardly meet."""
    drawn = random.SystemRandom().sample(_RANGE, k=min(len(_RANGE), 50 * count))
    found = [port for port in drawn if is_free(port)][:count]
    if len(found) < count:
        raise StackError(
            f"Only {len(found)} of {count} ports between {_RANGE.start} and {_RANGE.stop} are free; "
            "stop a stack that is not needed: infra/local/down --folder FOLDER."
        )
    return found
