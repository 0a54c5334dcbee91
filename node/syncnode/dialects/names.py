"""Quoting of names, whatever they hold: spaces, quotes, percent signs, reserved words.

Statements are written with the driver's own mark for parameters (`?` for SQLite, `%s` for
PyMySQL) and are always run with parameters, so a percent sign in a MariaDB name is doubled.
"""


def quote_sqlite(name: str) -> str:
    """The name as an identifier in SQLite."""
    return '"' + name.replace('"', '""') + '"'


def quote_mysql(name: str) -> str:
    """The name as an identifier in MariaDB or MySQL, for a statement run with parameters."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def quote_postgresql(name: str) -> str:
    """The name as an identifier in PostgreSQL, for a statement run with parameters."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'
