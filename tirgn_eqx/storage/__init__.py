"""Files on disk: whole or absent, locked, within limits, fetched."""
