"""Networks of sites simulated before they are built."""
