"""The base class of the project's exceptions, and how they quote other errors."""

LONGEST_REASON = 200  # characters


class VAEError(Exception):
    """An error that the user can fix.

    The message says what is wrong, where (the file and the key or path), and what to do about it. Stages print it
    without a traceback. Each module defines its own subclasses.
    """


def shortened(error: object) -> str:
    """The text of an error, or of anything else, in one line of limited length; its kind if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"
