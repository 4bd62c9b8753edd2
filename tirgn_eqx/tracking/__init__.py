"""The log of a training, in every place that it is written to."""
