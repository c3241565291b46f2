"""The base class of the project's exceptions."""


class VAEError(Exception):
    """An error that the user can fix.

    The message says what is wrong, where (the file and the key or path), and what to do about it. Stages print it
    without a traceback. Each module defines its own subclasses.
    """
