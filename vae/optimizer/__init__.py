"""Adam, the parameters of a module as one vector, and their moving average."""
