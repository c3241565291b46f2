"""Measure what the verdicts say about data and models that are made worse step by step: ``python -m calibration``."""

from vae.base import environment

environment.configure()  # must run before torch is imported
