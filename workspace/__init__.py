"""Looks after the project's folder: removes what killed DVC processes left in it, restores the committed results."""
