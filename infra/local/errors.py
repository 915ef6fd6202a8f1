"""What can go wrong while the stack starts; the message names the next step."""


class StackError(Exception):
    """A service could not be started, found or stopped."""
