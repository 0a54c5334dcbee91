"""Deletes at a site that has let go of a column.

The cells of such a column are gone here, and their dots with them; a delete that names only the
dots it finds would leave them unseen, and others who keep the column would take them for edits
that the deleter did not know. All that the site claims of the table, its people had before them.
"""

import json

from syncnode.store.hidden import HiddenRows
from syncnode.store.sidecar import DROPPED, Sidecar
from syncnode.store.table import Table
from syncproto.identity import RowKey
from syncproto.row import Row, union_seen


def all_seen(book: Sidecar, hidden: HiddenRows, table: Table, key: RowKey, dead: Row) -> Row:
    """A row just deleted here, whose delete has seen all that is claimed of a table that has lost
    a column; what waits aside for its time nobody has seen."""
    delete = dead.delete
    assert delete is not None, "just deleted"
    if table.name not in json.loads(book.settings.get(DROPPED, "[]")):
        return dead
    if hidden.asides(table.number, key):
        return dead
    vector = book.frontier.vector(table.name)
    # Own changesets need no entry: see `Delete`.
    claimed = {
        origin: entry.seq
        for origin, entry in vector.entries.items()
        if origin != delete.stamp.origin
    }
    return Row(dead.cells, delete._replace(seen=union_seen(delete.seen, claimed)))
