"""The one exception for what a user can mend."""


class InputError(Exception):
    """Bad input, with a message that says what is wrong, where, and what to do about it.

    A step that raises it ends with the message alone, without a traceback.
    """
