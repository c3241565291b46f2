"""Speed and memory of the project, beside its goals: ``python -m benchmarks``."""

import vae  # noqa: F401  # says how threads wait, before a benchmark imports torch
