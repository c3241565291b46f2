"""Adam, and the parameters of a module as one vector."""
