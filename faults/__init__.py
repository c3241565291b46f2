"""What the project survives: faults are provoked in copies of it, and what comes of them is checked."""
