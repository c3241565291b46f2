"""Copies of the project for tests, each in its own Git repository."""

from faults.project import BIN, ROOT, SMALL, Project, copy_project

__all__ = ["BIN", "ROOT", "SMALL", "Project", "copy_project"]
