"""GDELT's feeds: collect raw event files, and make event tables of them."""
