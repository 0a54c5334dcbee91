"""What people see of a run: words, tables, curves and one page."""
