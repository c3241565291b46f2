"""General code that is not specific to VAEs: errors, parameters, files, the machine."""
