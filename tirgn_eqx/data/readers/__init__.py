"""Every form of data, read into a `TemporalGraph`."""
