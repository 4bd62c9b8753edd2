"""Look-ups over the facts of a graph: snapshots, history, evidence."""
