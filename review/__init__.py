"""Revisions of the project next to one another: a report for a review, a gate, and experiments compared.

It reads what the stages have written, at any revision, and knows DVC and Git; the stages know nothing of it.
"""
