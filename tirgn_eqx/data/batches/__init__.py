"""Loaders: the batches that go to the device."""
