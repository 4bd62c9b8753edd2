"""Raw event files made into event tables: one reader of files and one table for all sources."""
