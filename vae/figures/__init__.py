"""Pictures from plain arrays, drawn by matplotlib without its global state."""
