"""Print to terminals that cannot show every character."""

import io
import sys


def replace_unknown_characters() -> None:
    """Print a question mark for a character that the terminal's encoding lacks, such as × or ±, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
