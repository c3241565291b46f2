"""Training: the loop over epochs, the step, the optimizer, schedules and checkpoints."""
