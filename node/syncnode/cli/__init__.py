"""The command line: a file a family of commands; each parses, calls `operations`, prints.

Names, flags and exit statuses are a contract (node/README.md). Nothing heavy is imported before
a command runs, and `operations`, which brings the database and the network with it, only once
the settings are known to be good: on old laptops those imports take longer than the rest.
"""
