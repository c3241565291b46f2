"""The root of the project's own exceptions."""


class VAEError(Exception):
    """An error that the user can fix.

    The message says what is wrong, where (the file and the key or the path) and what to do about it. Stages print
    it without a traceback; each module derives its own.
    """
