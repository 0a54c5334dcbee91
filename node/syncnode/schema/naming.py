"""What a table's rows are named by, in words that two sites can compare.

`schema/text.py` says it for the plan of one site; here two tables have the same words exactly
when `Table.key_of` gives the same row the same key at both.
"""

from collections.abc import Collection, Mapping

from syncnode.schema.drift import AGAIN
from syncnode.schema.plan import TablePlan
from syncproto.shapes import Shape, naming_of


def shape_of(table: TablePlan, dropped: Collection[str] = ()) -> Shape:
    """What the table is compared by; `dropped`: columns that it has had."""
    gone = {*dropped} - {column.name for column in table.columns}
    return Shape(_naming(table), tuple(sorted(gone)))


def _naming(table: TablePlan) -> str:
    names = table.key_columns
    match table.key_kind:
        case "uuid" | "natural":  # both make the key of the one value
            words = f"the value of {_part(table, names[0])}"
        case "shared":
            words = f"the {table.references[names[0]]} in {names[0]}"
        case "composite":
            words = ", ".join(_part(table, name) for name in names)
            words = f"{words} together" if len(names) > 1 else f"{words} alone"
        case "random":
            words = "a name drawn when it is written"
        case "none":
            words = f"all of its columns: {', '.join(_part(table, name) for name in names)}"
    return naming_of(words)


def _part(table: TablePlan, name: str) -> str:
    """A column of the row key; a reference counts by what its row is named by."""
    column = table.column(name)
    if column.conditional is not None:
        return f"{name} (another row's, by condition)"
    return f"{name} (a row of {column.reference})" if column.reference else name


def named_otherwise(namings: tuple[str, str], there: str) -> str:
    """Half a sentence on a table whose rows are named by something else at another site."""
    mine, theirs = namings
    return f"its rows are named by {mine} here, and by {theirs} at {there}"


def how_to_mend(tables: Mapping[str, tuple[str, str]], there: str) -> str:
    """Sentences on tables whose rows two sites name differently, and what to do."""
    told = "; ".join(f"{name}: {named_otherwise(tables[name], there)}" for name in sorted(tables))
    return (
        f"{told}. Both sites would hold each of these rows twice. Mend the rows where that is why "
        "(a uuid that is NULL or stands twice does not name rows; `syncnode init --dry-run` "
        'tells), or say `key = ["..."]` under [tables.NAME] in the topology file or in the '
        f"settings of both sites; then, at the site that names them otherwise, {AGAIN}"
    )
