"""Stands in for the package in ``python stages/train.py``, which looks for it in the folder of that file."""

import sys
from pathlib import Path

sys.exit(
    f"Run a stage as a module, in the project's folder: cd '{Path(__file__).parents[1]}', then python -m stages.train"
)
