"""Received rows into the application's tables: what is shown, parked, held, merged, withdrawn."""
