"""What sites say to each other and decide alone: pure values and functions, no I/O."""
