"""What `init` makes: settings from its command line, and the file that holds them."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from syncnode.schema.rule_files import preset_fault, read_preset
from syncnode.settings.config import (
    DATABASE_VARIABLE,
    EVERY_MS,
    Limits,
    Settings,
    address_of,
    listen_fault,
    read_settings,
    within_network,
)
from syncnode.settings.database_url import (
    DATABASE_EXAMPLES,
    absolute_database,
    database_fault,
    without_password,
)
from syncnode.settings.toml_reader import duration_text, shown
from syncnode.settings.topology import (
    EVERY_TABLE,
    TableChoice,
    name_fault,
    preset_name,
    read_topology,
    table_name_fault,
    url_fault,
)
from syncproto.errors import ConfigError, UsageError

_FLAG_BY_KEY = {"name": "--name", "url": "--url", "tables": "--only, --exclude, --preset"}


def new_settings(
    path: Path,
    *,
    name: str,
    database: str | None,
    listen: str | None = None,
    url: str | None = None,
    topology: str | None = None,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    preset: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """What `init` is told on its command line; relative paths are relative to the current folder.

    Key and anchor lie beside the file. Nothing is read but the topology, and nothing written.

    Raises:
        UsageError: A value is impossible; the text has a line for every fault.
        ConfigError: The topology is missing or broken.
    """
    path = path.absolute()
    given = environment.get(DATABASE_VARIABLE)
    faults = [
        _flag_fault("--name", name_fault(name)),
        _flag_fault("--listen", listen and listen_fault(listen)),
        _flag_fault("--url", url and url_fault(url)),
        *(_flag_fault("--only", table_name_fault(table)) for table in only),
        *(_flag_fault("--exclude", table_name_fault(table)) for table in exclude),
        _flag_fault("--preset", preset and preset_fault(preset, Path.cwd())),
    ]
    for table in sorted(set(only) & set(exclude)):
        faults.append(f"--exclude: {shown(table)} is named by --only too; keep one of the two")
    if database and given and database != given:
        faults.append(f"--database: {DATABASE_VARIABLE} names another database; unset one of them")
    elif not database and not given:
        faults.append(f"--database: is missing; write, say, {DATABASE_EXAMPLES}")
    chosen = database or given or ""
    if chosen:
        faults.append(_flag_fault("--database", database_fault(chosen)))
    network = read_topology(Path(topology).absolute()) if topology else None
    known = preset and not preset_fault(preset, Path.cwd())
    settings = Settings(
        path=path,
        name=name,
        database=absolute_database(chosen, Path.cwd()),
        database_given=database is not None,
        key=path.parent / "site.key",
        anchor=path.parent / "site.anchor",
        listen=address_of(listen) if listen and not listen_fault(listen) else None,
        public_url=url,
        topology=network,
        tables=TableChoice(
            tuple(dict.fromkeys(only)) or None,
            tuple(dict.fromkeys(exclude)),
            preset_name(preset, Path.cwd()) if preset and known else None,
            (read_preset(preset, Path.cwd()),) if preset and known else (),
        ),
    )
    settings, network_faults = within_network(settings)
    faults.extend(f"{_FLAG_BY_KEY[key[0]]}: {text}" for key, text in network_faults)
    if any(faults):
        raise UsageError("\n".join(fault for fault in faults if fault))
    return settings


def kept_settings(
    path: Path,
    *,
    name: str | None = None,
    database: str | None = None,
    listen: str | None = None,
    url: str | None = None,
    topology: str | None = None,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    preset: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in a file that `init` finds there, if its command line asks for no others.

    Raises:
        ConfigError: The file is broken; a line for each fault.
        UsageError: It says something else; a line for each.
    """
    settings = read_settings(path, environment)
    chosen, network = settings.tables, settings.topology
    absolute = absolute_database(database, Path.cwd()) if database else None
    there: dict[str, tuple[object, object]] = {
        "--name": (name, settings.name),
        "--database": (absolute and without_password(absolute), settings.shown_database),
        "--listen": (listen, settings.listen and str(settings.listen)),
        "--url": (url and url.rstrip("/"), settings.url),
        "--topology": (topology and Path(topology).absolute(), network and network.path),
        "--only": (sorted(set(only)), sorted(set(chosen.only or ()))),
        "--exclude": (sorted(set(exclude)), sorted(set(chosen.exclude))),
        "--preset": (preset and preset_name(preset, Path.cwd()), chosen.preset),
    }
    faults = [
        f"{flag}: {path} is there already and says {_said(kept)}; leave {flag} out to take that, "
        "or name another file with --config"
        for flag, (asked, kept) in there.items()
        if asked and asked != kept
    ]
    if absolute and absolute != settings.database and not faults:
        faults = [f"--database: {path} is there already and has another password; change it there"]
    if faults:
        raise UsageError("\n".join(faults))
    return settings


def _said(value: object) -> str:
    shown_value = ", ".join(value) if isinstance(value, list) else value
    return f"{shown_value}" if shown_value else "nothing of it"


def write_settings(path: Path, settings: Settings) -> None:
    """Make the file that `read_settings` reads back as `settings`, for its owner's eyes alone.

    The folder is made when it is missing. What stands at its default is left out.

    Raises:
        ConfigError: There is such a file already, or it cannot be written; nothing was changed.
    """
    write_text(path, _settings_text(settings))


def write_text(path: Path, text: str) -> None:
    """Make a file for its owner's eyes alone; the folder is made when it is missing.

    Raises:
        ConfigError: There is such a file already, or it cannot be written; nothing was changed.
    """
    descriptor = None
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        taken = path.parent if error.filename == str(path.parent) else path
        raise ConfigError(_exists_text(taken)) from error
    except (OSError, UnicodeEncodeError) as error:
        if descriptor is not None:
            with contextlib.suppress(OSError):  # the first error is the one to report
                path.unlink()
        reason = error.strerror if isinstance(error, OSError) else "its text is not Unicode"
        raise ConfigError(f"{path}: cannot be written ({reason})") from error


def _settings_text(settings: Settings) -> str:
    lines = [
        "# This site, for syncnode. It may hold a password: keep it to yourself.",
        f"name = {_quoted(settings.name)}",
    ]
    if settings.database_given:
        lines.append(f"database = {_quoted(settings.database)}")
    else:
        lines.append(f"# database: from the environment, {DATABASE_VARIABLE}")
    if settings.listen:
        lines.append(f"listen = {_quoted(str(settings.listen))}")
    network = settings.topology
    site = network.sites_by_name.get(settings.name) if network else None
    if settings.public_url and settings.public_url != (site.url if site else None):
        lines.append(f"url = {_quoted(settings.public_url)}")
    lines.append(f"key = {_quoted(str(settings.key))}")
    lines.append(f"anchor = {_quoted(str(settings.anchor))}")
    if network:
        lines.append(f"topology = {_quoted(str(network.path))}")
    if settings.every_ms != ((site.every_ms if site else None) or EVERY_MS):
        lines.append(f"every = {_quoted(duration_text(settings.every_ms))}")
    return "\n".join([*lines, *_limits_lines(settings), *_tables_lines(settings), ""])


def _limits_lines(settings: Settings) -> list[str]:
    lines = []
    for limit in fields(Limits):
        value = getattr(settings.limits, limit.name)
        if value == limit.default:
            continue
        if limit.name.endswith("_ms_max"):
            key = limit.name.removesuffix("_ms_max") + "_max"
            lines.append(f"{key} = {_quoted(duration_text(value))}")
        else:
            lines.append(f"{limit.name} = {value}")
    return ["", "[limits]", *lines] if lines else []


def _tables_lines(settings: Settings) -> list[str]:
    there = settings.topology.tables if settings.topology else EVERY_TABLE
    lines = []
    if settings.tables.preset and settings.tables.preset != there.preset:
        lines.append(f"preset = {_quoted(settings.tables.preset)}")
    if settings.tables.only and settings.tables.only != there.only:
        lines.append(f"only = [{', '.join(map(_quoted, settings.tables.only))}]")
    if settings.tables.exclude and settings.tables.exclude != there.exclude:
        lines.append(f"exclude = [{', '.join(map(_quoted, settings.tables.exclude))}]")
    return ["", "[tables]", *lines] if lines else []


def _quoted(text: str) -> str:
    # JSON's strings are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _exists_text(path: Path) -> str:
    return f"{path}: is there already and is not overwritten; move it away, or name another file"


def _flag_fault(flag: str, fault: str | None) -> str | None:
    return f"{flag}: {fault}" if fault else None
