"""Where the figures of a training go."""
