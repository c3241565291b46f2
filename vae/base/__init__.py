"""What any pipeline needs, and nothing of VAEs: errors, parameters, the machine, files."""
