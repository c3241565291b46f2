"""What the project costs in time and memory, next to what it could cost at best: ``make bench``."""
