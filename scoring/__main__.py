"""Score the images of a folder: ``make score IMAGES=folder``."""

import argparse
import sys
from pathlib import Path

from stages import paths
from vae.base import command

SKIPPED = 1  # the exit status if files could not be used
NAMED = 3  # of these files


def main() -> int:
    """Score the images and write the tables and the page."""
    parser = argparse.ArgumentParser(prog="python -m scoring", description=__doc__)
    parser.add_argument("images", type=Path, help="a folder of images")
    parser.add_argument("--model", type=Path, default=paths.MODEL, help="model file (default: %(default)s)")
    parser.add_argument(
        "--train", type=Path, default=paths.TRAIN_IMAGES, help="the model's training images (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("scores"), help="folder to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    arguments = parser.parse_args()

    from scoring.run import score  # PyTorch takes a second to import

    result = score(arguments.images, arguments.model, arguments.train, arguments.out, arguments.seed)
    print(f"scored {result.scored:,} images, {result.duplicates:,} of them like a training image: {result.page}")
    if not result.skipped:
        return 0
    for name, reason in list(result.skipped.items())[:NAMED]:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    if len(result.skipped) > NAMED:
        print(f"skipped {len(result.skipped) - NAMED:,} more files; scores.csv lists them", file=sys.stderr)
    return SKIPPED


if __name__ == "__main__":
    command.run("", main, failure=2, interrupted="interrupted; nothing is written")
