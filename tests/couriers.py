"""Sites that know each other, and bundles between them by the real `export` and `import`."""

from pathlib import Path

from sites import Site

from syncnode.identity.credentials import load_key
from syncnode.links.peers import Peer, put_peer
from syncnode.operations.exporting import export
from syncnode.operations.importing import import_files
from syncnode.reports import ExportReport, ImportReport


def introduce(*sites: Site) -> None:
    """Make peers of all of them."""
    for site in sites:
        with site.replica.database.write() as tx:
            for other in sites:
                if other is not site:
                    key = load_key(other.settings.key)
                    put_peer(tx, Peer(key.site, other.name, "peer", "", key.public))


def pack(
    site: Site, path: Path, *readers: str, since: str | None = None, split: int | None = None
) -> ExportReport:
    return export(
        site.settings,
        path,
        readers=readers,
        since_what=since,
        split=split,
        progress=lambda _text: None,
    )


def unpack(site: Site, *files: Path | str) -> ImportReport:
    return import_files(site.settings, [Path(one) for one in files], progress=lambda _text: None)
