"""Loaders: batches of queries with all that a model needs to answer them, padded to a few shapes."""
