"""GDELT's feeds: collect raw event files."""
