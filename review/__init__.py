"""Compare revisions and experiments: a report for code review, a gate, and tables of experiments.

This package reads what the stages wrote at any revision. It uses DVC and Git; the stages do not depend on it.
"""
