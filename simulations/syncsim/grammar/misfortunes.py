"""`[[misfortunes]]`: what befalls the sites, once or now and then."""

from collections.abc import Iterable, Mapping

from syncnode.settings.toml_reader import duration_text, meant, shown
from syncsim.grammar.keys import Keys
from syncsim.grammar.later import LATER_MISFORTUNES
from syncsim.grammar.links import LASTS_MS_MAX
from syncsim.grammar.patterns import OFFSET_MS_MAX
from syncsim.misfortunes import LASTING
from syncsim.scenario import DAY_MS, HOUR_MS, MISFORTUNES, SHAPES, Misfortune

_KINDS_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "lasts": LASTING,
    "shape": ("partition",),
    "offset": ("clock",),
    "age": ("restore",),
    "anchor": ("restore",),
}
_NEEDED = {"lasts": "1h", "offset": "-10m", "age": "7d"}


def misfortunes(root: Keys, names: Iterable[str], faults_ms: int) -> tuple[Misfortune, ...]:
    """What the file says will happen.

    Args:
        names: Of all sites.
        faults_ms: When the quiet begins.
    """
    known = dict.fromkeys(names)
    read = [_misfortune(t, known, faults_ms) for t in root.list_of_tables("misfortunes")]
    return tuple(misfortune for misfortune in read if misfortune is not None)


def _misfortune(table: Keys, names: Mapping[str, None], faults_ms: int) -> Misfortune | None:
    kind = _kind(table)
    if kind is None:
        return None
    for key, kinds in _KINDS_OF_KEYS.items():
        if key in table and kind not in kinds:
            table.fault(key, f"has no meaning for a {kind}; remove it")
        if key not in table and kind in kinds and key in _NEEDED:
            table.fault(key, f'is missing; write, say, {key} = "{_NEEDED[key]}"')
    if ("at" in table) == ("every" in table):
        table.fault("at", 'write either at = "2h" for once, or every = "1d" for now and then')
    at_ms = table.duration_ms("at", default=None, least=0, most=faults_ms)
    if at_ms == faults_ms:
        table.fault("at", f"is when the quiet begins; {duration_text(faults_ms // 2)} would do")
    sites = table.texts("sites", example="kigali") or ()
    for index, name in enumerate(sites):
        if name not in names:
            table.fault(("sites", index), f"{shown(name)} is no site; {meant(name, names)}")
    lasts_ms = table.duration_ms("lasts", default=HOUR_MS, least=1_000, most=LASTS_MS_MAX)
    age_ms = table.duration_ms("age", default=DAY_MS, least=1_000, most=LASTS_MS_MAX)
    if kind == "restore" and at_ms is not None and age_ms > at_ms:
        table.fault("age", f"is more than {duration_text(at_ms)}, how old the run is then")
    misfortune = Misfortune(
        kind,
        at_ms=at_ms,
        every_ms=table.duration_ms("every", default=None, least=1_000, most=LASTS_MS_MAX),
        lasts_ms=lasts_ms if kind in LASTING else 0,
        sites=sites,
        shape=table.one_of("shape", SHAPES, default="isolate"),
        offset_ms=table.signed_ms("offset", default=0, most=OFFSET_MS_MAX),
        age_ms=age_ms if kind == "restore" else 0,
        anchor=table.flag("anchor", default=True),
    )
    table.refuse_unknown()
    return misfortune


def _kind(table: Keys) -> str | None:
    kind = table.text("kind", example="partition")
    if "kind" not in table:
        table.fault("kind", f"is missing; write one of {', '.join(MISFORTUNES)}")
    if kind is None or kind in MISFORTUNES:
        return kind
    if kind in LATER_MISFORTUNES:
        table.fault("kind", f"{LATER_MISFORTUNES[kind]}; remove this misfortune")
    else:
        table.fault("kind", f"{shown(kind)} is no misfortune; {meant(kind, MISFORTUNES)}")
    return None
