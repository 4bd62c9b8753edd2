"""GDELT's event files: collected from its server, and read into events."""
