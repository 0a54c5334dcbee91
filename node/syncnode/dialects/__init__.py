"""Where SQLite, MariaDB/MySQL and PostgreSQL differ: a file each, one interface (`base.py`)."""
