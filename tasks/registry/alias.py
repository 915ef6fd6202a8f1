"""The champion's number in milliseconds, for what must answer before MLflow is even imported."""

from tasks.registry.registry import Registry


def champion_version(registry: Registry) -> str | None:
    """The version that is live, or None while there is none.

    Raises:
        RegistryError: the registry cannot be read.
    """
    return registry.standing()[0]
