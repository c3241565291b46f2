"""Draw pictures from plain arrays with matplotlib, without its global state."""
