"""`syncnode.toml`: what this site is, checked once, at start.

    name = "rwinkwavu"
    database = "mysql+pymysql://openmrs:secret@127.0.0.1/openmrs"
    listen = "0.0.0.0:8470"                     # without it the site only calls others
    url = "https://sync.rwinkwavu.example:8470" # where others call it; default https://<listen>
    key = "site.key"                            # both optional, and these the defaults
    anchor = "site.anchor"
    topology = "topology.toml"                  # optional: the network, see topology.py
    every = "15m"                               # optional, here or in the topology

    [limits]                                    # optional, each key too
    skew_max = "5m"

    [tables]                                    # optional, here or in the topology
    preset = "openmrs"                          # or the path of one's own
    only = ["person"]
    exclude = ["audit_log"]

    [tables.visit]                              # rules of a table: schema/rule_files.py
    references.place_id = "place"

    [maps.kinds]                                # used by such rules, as in a preset
    "Place" = "place"

    share = true                                # several `serve` work on the database at once

    [site.with.kigali.tables]                   # what crosses links of ours: link_rules.py
    audit_log = "send"

    [lan]                                       # sites nearby find each other: lan_settings.py
    discover = true

    [files.complex_obs]                         # files beside the database: files/settings.py
    path = "/var/lib/openmrs/complex_obs"

    [filters]                                   # what is shown instead: filters.py
    person = ["without_phone"]

    [hooks.search]                              # whom to tell what arrived: hook_settings.py
    after_apply = ["/usr/local/bin/reindex"]

Relative paths, also that of an SQLite database, are relative to the file. The environment
variable SYNCNODE_DATABASE replaces `database`, so that a password need not be in a file.
"""

import ipaddress
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from syncnode.apply.filters import read_filters
from syncnode.files.settings import Directory, read_files
from syncnode.schema.rule_files import read_maps
from syncnode.settings.database_url import (
    DATABASE_EXAMPLES,
    absolute_database,
    database_fault,
    without_password,
)
from syncnode.settings.hook_settings import Hook, read_hooks
from syncnode.settings.lan_settings import NO_LAN, Lan, read_lan
from syncnode.settings.link_keys import LinkKeys, every_ms
from syncnode.settings.link_rules import NO_RULES, Said, SiteRules, read_rules
from syncnode.settings.toml_reader import Document, Table, meant, shown
from syncnode.settings.topology import (
    EVERY_TABLE,
    TableChoice,
    Topology,
    name_fault,
    read_topology,
    renamings,
    table_choice,
    url_fault,
)
from syncproto.clock import SKEW_MS_MAX
from syncproto.errors import ConfigError

CONFIG_PATH = "syncnode.toml"
EVERY_MS = 60_000  # a link that can wait carries changes at once; this is for the others
DATABASE_VARIABLE = "SYNCNODE_DATABASE"
CONFIG_VARIABLE = "SYNCNODE_CONFIG"

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds memory, messages and patience.

    Attributes:
        chunk_bytes_max: Of one chunk of a delta, before compression.
        body_bytes_max: Of one request or answer, before compression; holds at least two chunks.
        apply_rows_max: Rows that one transaction writes; a longer catch-up goes in steps.
        skew_ms_max: How far in our future a stamp may be before it is kept aside.
        wait_ms_max: How long a request is kept waiting for news.
    """

    chunk_bytes_max: int = 1 * _MIB
    body_bytes_max: int = 8 * _MIB
    apply_rows_max: int = 50_000
    skew_ms_max: int = SKEW_MS_MAX
    wait_ms_max: int = 25_000  # under the 30 and 60 s after which proxies close idle requests


DEFAULT_LIMITS = Limits()
DEFAULT_LINK = LinkKeys(every_ms=EVERY_MS, stay=True, tries=10, timeout_ms=180_000, open=())
"""The longest silence is that of a peer which applies a large delta, on an old laptop."""


class Address(NamedTuple):
    """Where the node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """One site's settings, checked; every path is absolute.

    Attributes:
        path: The file itself.
        name: What people call the site.
        database: The URL of the database as SQLAlchemy reads it. May hold a password: show
            `shown_database` instead.
        database_given: False when the URL came from the environment and is not in the file.
        key: File of the private key.
        anchor: File of the identity anchor.
        listen: Where the node listens; None for a site that only calls others.
        public_url: `url` as it was written; see `url`.
        topology: The network, when the file names it.
        tables: Which tables take part.
        every_ms: How often the site calls its peers.
        hooks: Whom to tell what was applied.
        filters: Names of filters by table.
        lan: Whether sites nearby find each other.
        share: Several `serve` may work on the database at once.
        rules: What is said of our links: which tables cross them, when and how we call.
        files: Directories whose files take part.
    """

    path: Path
    name: str
    database: str = field(repr=False)
    key: Path
    anchor: Path
    listen: Address | None = None
    public_url: str | None = None
    topology: Topology | None = None
    tables: TableChoice = EVERY_TABLE
    limits: Limits = DEFAULT_LIMITS
    every_ms: int = EVERY_MS
    database_given: bool = True
    hooks: tuple[Hook, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lan: Lan = NO_LAN
    rules: SiteRules = NO_RULES
    share: bool = False
    files: tuple[Directory, ...] = ()

    @property
    def url(self) -> str | None:
        """Where others call this site; None when it listens nowhere, or everywhere unnamed."""
        if self.public_url:
            return self.public_url.rstrip("/")
        if self.listen is None or _is_wildcard(self.listen.host):
            return None
        return f"https://{self.listen}"

    def link(self, peer: str, *, child: bool) -> LinkKeys:
        """How a peer is called; every key has a value but `batch_bytes` and `budget`, which may
        be without a bound of their own."""
        return self.rules.keys(peer, child=child).over(
            replace(DEFAULT_LINK, every_ms=self.every_ms)
        )

    @property
    def shown_database(self) -> str:
        """The URL of the database without its password."""
        return without_password(self.database)


def config_path(given: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The file that --config names, else SYNCNODE_CONFIG, else ./syncnode.toml; absolute."""
    return Path(given or environment.get(CONFIG_VARIABLE) or CONFIG_PATH).absolute()


def read_settings(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `path` and in the topology that it names.

    Raises:
        ConfigError: A file is missing or broken; the text has a line for every fault.
    """
    path = path.absolute()
    if not path.exists():
        raise ConfigError(
            f"{path}: there is no such file; make one with `syncnode init`, or name yours with "
            f"--config PATH or {CONFIG_VARIABLE}"
        )
    document = Document(path)
    settings = _settings(document, environment)
    document.refuse_faults()
    assert settings, "without faults nothing is missing"
    return settings


def check_tables(settings: Settings, existing: Collection[str]) -> None:
    """Raise when `[tables]` names what the database does not have.

    Args:
        settings: As `read_settings` or `new_settings` gave them.
        existing: Every application table of the database.

    Raises:
        ConfigError: A line for each such name: file and line, or the flag of `init`.
    """
    missing = [
        (key, index, name)
        for key, names in (
            ("only", settings.tables.only or ()),
            ("exclude", settings.tables.exclude),
        )
        for index, name in enumerate(names)
        if name not in existing
    ]
    if not missing:
        return
    in_network = settings.topology.tables if settings.topology else EVERY_TABLE
    documents: dict[Path, Document] = {}
    flags: list[str] = []
    for key, index, name in missing:
        text = f"{shown(name)} is no table of the database; {meant(name, existing)}"
        from_network = name in ((in_network.only if key == "only" else in_network.exclude) or ())
        path = settings.topology.path if from_network and settings.topology else settings.path
        if not path.exists():  # `init`: the file is yet to be written
            flags.append(f"--{key}: {text}")
            continue
        document = documents.setdefault(path, Document(path))
        document.fault(("tables", key, index), text)
    texts = list(flags)
    for document in documents.values():
        try:
            document.refuse_faults()
        except ConfigError as error:
            texts.append(str(error))
    raise ConfigError("\n".join(texts))


def _settings(document: Document, environment: Mapping[str, str]) -> Settings | None:
    root = document.root
    folder = document.path.parent
    name = root.text("name", example="kigali", check=name_fault)
    database, database_given = _database(root, folder, environment)
    listen = root.text("listen", example="127.0.0.1:8470", check=listen_fault)
    url = root.text("url", example="https://sync.kigali.example:8470", check=url_fault)
    key, anchor = (_file(root, one, folder) or folder / f"site.{one}" for one in ("key", "anchor"))
    if key == anchor:
        root.fault("anchor", "is the file of the key; give each its own")
    topology_path = root.text("topology", example="topology.toml")
    calls_every_ms = every_ms(root)
    share = root.flag("share", default=False)
    if share and database and database.startswith("sqlite"):
        root.fault("share", "an SQLite database is served by one process; remove the key")
    limits = _limits(root.table("limits"))
    hooks = read_hooks(root.table("hooks"))
    filters = read_filters(root.table("filters"))
    lan = read_lan(root.table("lan"))
    files = read_files(root.table("files"), folder)
    site = root.table("site")
    rules = read_rules(site)
    if calls_every_ms is not None:
        rules = SiteRules(levels=(Said(keys=LinkKeys(every_ms=calls_every_ms)),)).below(rules)
    site.refuse_unknown()
    tables_table = root.table("tables")
    tables = table_choice(tables_table, read_maps(root.table("maps")))
    tables = replace(tables, renamed=renamings(root.table("renamed")))
    tables_table.refuse_unknown()
    root.refuse_unknown()
    if "name" not in root:
        root.fault("name", 'is missing; write, say, name = "kigali"')
    topology = _topology(root, topology_path, folder)
    if not (name and database):
        return None
    settings = Settings(
        path=document.path,
        name=name,
        database=database,
        database_given=database_given,
        key=key,
        anchor=anchor,
        listen=address_of(listen) if listen else None,
        public_url=url,
        topology=topology,
        tables=tables,
        limits=limits,
        hooks=hooks,
        filters=filters,
        lan=lan,
        rules=rules,
        share=share,
        files=files,
    )
    settings, faults = within_network(settings)
    for place, text in faults:
        root.fault(place, text)
    return replace(settings, every_ms=calls_every_ms) if calls_every_ms else settings


def _database(root: Table, folder: Path, environment: Mapping[str, str]) -> tuple[str | None, bool]:
    """The URL, absolute, and whether it is the file's."""
    written = root.text("database", example="sqlite:///site.db", check=database_fault)
    given = environment.get(DATABASE_VARIABLE)
    if given:
        if fault := database_fault(given):
            root.document.fault(("database",), f"the environment's {DATABASE_VARIABLE} {fault}")
        return absolute_database(given, Path.cwd()), False
    if "database" not in root:
        root.fault(
            "database",
            f"is missing; write, say, {DATABASE_EXAMPLES}, or set {DATABASE_VARIABLE}",
        )
    return (absolute_database(written, folder) if written else None), True


def _file(root: Table, key: str, folder: Path) -> Path | None:
    text = root.text(key, example=f"site.{key}", check=_path_fault)
    return folder / text if text else None


def _path_fault(text: str) -> str | None:
    return "holds a control character; write a path" if not text.isprintable() else None


def _limits(table: Table) -> Limits:
    default = DEFAULT_LIMITS
    limits = Limits(
        chunk_bytes_max=table.size_bytes(
            "chunk_bytes_max", default=default.chunk_bytes_max, least=4 * _KIB, most=64 * _MIB
        ),
        body_bytes_max=table.size_bytes(
            "body_bytes_max", default=default.body_bytes_max, least=16 * _KIB, most=256 * _MIB
        ),
        apply_rows_max=table.integer(
            "apply_rows_max", default=default.apply_rows_max, least=100, most=10_000_000
        ),
        skew_ms_max=table.duration_ms(
            "skew_max", default=default.skew_ms_max, least=1_000, most=7 * 86_400_000
        ),
        wait_ms_max=table.duration_ms(
            "wait_max", default=default.wait_ms_max, least=1_000, most=600_000
        ),
    )
    if limits.body_bytes_max < 2 * limits.chunk_bytes_max:
        table.fault(
            "body_bytes_max" if "body_bytes_max" in table else "chunk_bytes_max",
            f"a body of {limits.body_bytes_max} bytes does not hold two chunks of "
            f"{limits.chunk_bytes_max}; body_bytes_max must be at least twice chunk_bytes_max",
        )
    table.refuse_unknown()
    return limits


def _topology(root: Table, written: str | None, folder: Path) -> Topology | None:
    if written is None:
        return None
    if not (folder / written).exists():
        root.fault("topology", f"there is no file {folder / written}; write its path, or none")
        return None
    try:
        return read_topology(folder / written)
    except ConfigError as error:
        # Its faults carry the topology's own lines; they are reported with ours.
        root.document.refer(str(error))
        return None


def within_network(
    settings: Settings,
) -> tuple[Settings, list[tuple[tuple[str, ...], str]]]:
    """The settings completed by the topology, and what contradicts it, by key."""
    network = settings.topology
    if network is None:
        return settings, []
    faults: list[tuple[tuple[str, ...], str]] = []
    site = network.sites_by_name.get(settings.name)
    if site is None:
        remedy = meant(settings.name, network.sites_by_name)
        faults.append((("name",), f"{shown(settings.name)} is no site of {network.path}; {remedy}"))
    elif settings.public_url and site.url and settings.url != site.url.rstrip("/"):
        faults.append((("url",), f"{network.path} says {site.url}; keep one, or make them equal"))
    here, there = settings.tables, network.tables
    for key, ours, theirs in (
        ("only", here.only, there.only),
        ("exclude", here.exclude, there.exclude),
        ("preset", here.preset, there.preset),
    ):
        if ours and theirs and ours != theirs:
            faults.append((("tables", key), f"{network.path} says another; keep one of the two"))
    only, exclude = here.only or there.only, here.exclude or there.exclude
    for name in sorted({*(only or ())} & {*exclude} - ({*(here.only or ())} & {*here.exclude})):
        both = f'{shown(name)} is in "only" and in "exclude", here and in {network.path}; keep one'
        faults.append((("tables",), both))
    presets = here.rules[:1] if here.preset else there.rules[:1] if there.preset else ()
    own = (*there.rules[bool(there.preset) :], *here.rules[bool(here.preset) :])
    completed = replace(
        settings,
        tables=TableChoice(
            only,
            exclude,
            here.preset or there.preset,
            (*presets, *own),
            here.pass_on and there.pass_on,
            tuple({**dict(there.renamed), **dict(here.renamed)}.items()),
        ),
        public_url=settings.public_url or (site.url if site else None),
        every_ms=(site.every_ms if site else None) or EVERY_MS,
        rules=network.rules_of(site.name).below(settings.rules) if site else settings.rules,
    )
    return completed, faults


def listen_fault(listen: str) -> str | None:
    """What is wrong with an address to listen on, and what would do."""
    would_do = 'write "host:port", such as "127.0.0.1:8470"'
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", listen)
    if not match:
        return f"{shown(listen)} is no address to listen on; {would_do}"
    if not 1 <= int(match[2]) <= 65_535:
        return f"{match[2]} is no port; write one between 1 and 65535, such as 8470"
    if match[1].startswith("["):
        try:
            ipaddress.IPv6Address(match[1][1:-1])
        except ValueError:
            return f"{shown(listen)} is no address to listen on; {would_do}"
    return None


def address_of(listen: str) -> Address:
    """The parts of an address that `listen_fault` finds nothing wrong with."""
    host, _, port = listen.rpartition(":")
    return Address(host.strip("[]"), int(port))


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name, not digits
