"""`[hooks.NAME]` of `syncnode.toml`: whom to tell which rows were written, once they stand there.

[hooks.search]
after_apply = ["/usr/local/bin/reindex", "--quiet"]   # or "http://127.0.0.1:8080/reindex"
tables = ["person", "person_name"]                    # default: all
timeout = "30s"                                       # of each call
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from syncnode.settings.toml_reader import Table, meant, shown
from syncnode.settings.topology import name_fault
from syncproto.errors import ConfigError

TIMEOUT_MS = 30_000  # long enough to reindex a thousand rows, short enough to notice one that hangs
EXAMPLES = '["/usr/local/bin/reindex"] or "http://127.0.0.1:8080/reindex"'


@dataclass(frozen=True, slots=True)
class Hook:
    """One of them.

    Attributes:
        command: Program and arguments; empty where there is a `url`.
        url: Where to POST; "" where there is a command. May hold a password: not for showing.
        tables: Those whose rows it is told; None for all.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = field(default="", repr=False)
    tables: frozenset[str] | None = None
    timeout_ms: int = TIMEOUT_MS

    def takes(self, table: str) -> bool:
        return self.tables is None or table in self.tables

    @property
    def shown(self) -> str:
        """What is called, without arguments or secrets."""
        return self.command[0] if self.command else urlsplit(self.url).hostname or ""


def read_hooks(table: Table) -> tuple[Hook, ...]:
    """The hooks of a settings file; what is wrong is noted in its document."""
    found = []
    for name, part in table.tables():
        if fault := name_fault(name):
            table.fault(name, fault)
        tables = part.texts("tables", example="person")
        timeout_ms = part.duration_ms("timeout", default=TIMEOUT_MS, least=1_000, most=600_000)
        command, url = _called(part)
        part.refuse_unknown()
        if command or url:
            chosen = frozenset(tables) if tables is not None else None
            found.append(Hook(name, command, url, chosen, timeout_ms))
    for name in table.remaining():
        table.fault(name, f"must be a table, such as [hooks.search] with after_apply = {EXAMPLES}")
    return tuple(found)


def _called(part: Table) -> tuple[tuple[str, ...], str]:
    value = part.value("after_apply")
    if value is None:
        part.fault("after_apply", f"is missing; write, say, {EXAMPLES}")
    elif isinstance(value, str):
        if fault := _url_fault(value):
            part.fault("after_apply", fault)
        else:
            return (), value
    elif isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        if value[0].strip() and not any("\0" in word for word in value):
            return tuple(value), ""
        part.fault("after_apply", "names no program; write the program and then its arguments")
    else:
        part.fault("after_apply", f"must be a list of words or an address: {EXAMPLES}")
    return (), ""


def _url_fault(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        return f"{shown(text)} is no address; write {EXAMPLES}"
    return None


def check_hooks(hooks: Collection[Hook], tables: Collection[str]) -> None:
    """
    Raises:
        ConfigError: A hook names tables that are not replicated.
    """
    faults = [
        f"hooks.{hook.name}.tables: {shown(name)} is no replicated table; {meant(name, tables)}"
        for hook in hooks
        for name in sorted(hook.tables or ())
        if name not in tables
    ]
    if faults:
        raise ConfigError("\n".join(faults))
