"""`import --discard`: a bundle whose other parts or whose base will never come is given up."""

from typing import TYPE_CHECKING

from syncnode.operations.bundle_notes import short_id
from syncnode.operations.importing import report_of
from syncnode.reports import ImportReport
from syncnode.store.bundles import drop_bundle, is_begun, read_bundles
from syncnode.texts import utc_text
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from syncnode.settings.config import Settings


def discard(settings: "Settings", name: str) -> ImportReport:
    """Let go of a bundle that waits, with the rows that stand in it and nowhere else here.

    Args:
        name: The start of its id, as `status` shows it.

    Raises:
        ConfigError: None that waits has that id, or several have.
    """
    from syncnode.operations.site import open_replica

    replica = open_replica(settings)
    try:
        with replica.database.write() as tx:
            found = [one for one in read_bundles(tx) if name and one.id.hex().startswith(name)]
            if len(found) != 1:
                known = ", ".join(short_id(one.id) for one in read_bundles(tx)) or "none"
                raise ConfigError(f"no bundle {name!r} waits here; those that wait: {known}")
            (bundle,) = found
            if is_begun(tx, bundle.id):
                raise ConfigError("this bundle is being written to the tables just now")
            drop_bundle(tx, bundle.id)
        note = f"the bundle of {bundle.name}, {utc_text(bundle.made_ms)[:10]}, was given up"
        return report_of(replica, settings, (), 0, (note,))
    finally:
        replica.close()
