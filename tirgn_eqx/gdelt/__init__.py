"""GDELT's feed: raw event files collected and made into event tables."""
