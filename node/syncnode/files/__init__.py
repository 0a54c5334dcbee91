"""Files beside the database: declared directories that are kept in step with those of peers."""
