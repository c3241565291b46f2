"""Print to terminals that cannot show every character, and that obey some."""

import io
import sys

JOINERS = "\u200c\u200d"  # not printable by themselves, but part of words in some languages and of some emoji


def replace_unknown_characters() -> None:
    """Print a question mark for a character that the terminal's encoding lacks, such as × or ±, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def printable(text: str, keep: str = "") -> str:
    """Write characters that control a terminal, the direction of text or the end of a line by their escapes.

    Args:
        text: from a file or from another revision, so that it may contain anything.
        keep: characters to leave as they are, such as a line break.
    """
    return "".join(
        character
        if character.isprintable() or character in JOINERS or character in keep
        else character.encode("unicode_escape").decode()
        for character in text
    )
