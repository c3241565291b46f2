"""Measures of what a VAE has learned and verdicts on what went wrong, with one module for each subject."""
