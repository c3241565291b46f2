"""Images: their form in memory and on disk, and where they come from."""
