"""Searching for settings: what is searched, the study that several processes share, and the search itself."""
