"""Stands in for the package in ``python stages/train.py``, which looks for it in the folder of that file."""

import sys
from pathlib import Path

stage, project = Path(sys.argv[0]).stem, Path(__file__).parents[1]
sys.exit(f"{stage}: run it as a module in the project's folder: cd '{project}', then python -m stages.{stage}")
