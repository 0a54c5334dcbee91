"""What stands in the database: transactions, the sidecar, the application's tables."""
