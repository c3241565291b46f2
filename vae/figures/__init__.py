"""Pictures, from plain arrays: matplotlib without its global state."""
