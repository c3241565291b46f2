"""Data sets of images: their form in memory and on disk, and their sources."""
