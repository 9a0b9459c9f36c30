"""The privileged part: a warm process that forks sandboxes out of itself."""
