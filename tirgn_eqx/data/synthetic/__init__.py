"""The simulated event world."""
