"""Who a site is: its keys and certificate, its anchor outside the database, where it lives."""
