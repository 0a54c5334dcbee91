"""Where SQLite and MariaDB/MySQL differ: a file each, one interface (`base.py`)."""
