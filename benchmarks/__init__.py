"""Measure speed and memory of the project, and compare them with its goals: ``python -m benchmarks``."""

from vae.base import environment

environment.configure()  # must run before torch is imported
