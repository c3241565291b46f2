"""Speed and memory of the project, beside its goals: ``python -m benchmarks``."""

from vae.base import openmp

openmp.configure()  # here, since a benchmark imports torch first of all
