"""Measures of what a VAE has learned and what went wrong: one subject a module, numbers in, numbers out."""
