"""The one exception for what a user can mend."""


class InputError(Exception):
    """Bad input, with a message that says what is wrong, where, and what to do about it.

    A step that raises it ends with the message alone, without a traceback.
    """


def few(names: list[str], most: int = 5) -> str:
    """Return the first few names for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
