"""`[people.NAME]`: profiles of people, and the names that sites call them by."""

from syncnode.settings.toml_reader import meant, shown
from syncsim import presets
from syncsim.grammar.keys import Keys
from syncsim.scenario import Profile

NOBODY = "none"
POOL_ROWS_MAX = 100_000
SHARED_MOST = 0.9

_ONLY = {
    "clinic": ("visits_a_day", "patients_a_day", "hours", "weekend", "shared"),
    "random": ("writes_an_hour", "rows", "deletes"),
}


class Profiles:
    """The profiles of a file, and the presets that it uses.

    Attributes:
        by_name: In the order of the file, then of their first use.
    """

    def __init__(self, root: Keys) -> None:
        self.by_name: dict[str, Profile] = {}
        people = root.table("people")
        for name, table in people.tables():
            if name == NOBODY:
                people.fault(name, "stands for nobody; choose another name")
            self.by_name[name] = _profile(name, table, people)
        for name in people.remaining():
            people.fault(name, f"must be a table, such as [people.{name}]")

    def named(self, table: Keys, key: str) -> str | None:
        """The profile that `key` names, one of the file's or a preset; "none" is nobody."""
        name = table.text(key, example="health centre")
        if name is None or name == NOBODY:
            return None
        if name in self.by_name:
            return name
        if name in presets.PEOPLE:
            self.by_name[name] = presets.PEOPLE[name]
            return name
        known = {*self.by_name, *presets.PEOPLE, NOBODY}
        table.fault(key, f"{shown(name)} are no people; {meant(name, known)}")
        return None


def _profile(name: str, table: Keys, people: Keys) -> Profile:
    preset = table.text("preset", example="health centre")
    if "preset" not in table and name in presets.PEOPLE:
        people.fault(name, f'is the name of a preset; write preset = "{name}" in it, or rename it')
    if preset is not None and preset not in presets.PEOPLE:
        table.fault("preset", f"{shown(preset)} is no preset; {meant(preset, presets.PEOPLE)}")
    base = presets.PEOPLE.get(preset or "", Profile(name))
    kind = table.one_of("kind", tuple(_ONLY), default=base.kind)
    for other, keys in _ONLY.items():
        for key in keys:
            if key in table and other != kind:
                table.fault(key, f"has no meaning for people of kind {kind}; remove it")
    hours = table.spans_ms("hours", default=(base.hours_ms,))
    if len(hours) != 1:
        table.fault("hours", 'must be one span within a day, such as ["08:00-17:00"]')
    profile = Profile(
        name,
        kind=kind,
        visits_a_day=table.number("visits_a_day", default=base.visits_a_day, least=0, most=1e5),
        patients_a_day=table.number(
            "patients_a_day", default=base.patients_a_day, least=0, most=1e5
        ),
        hours_ms=hours[0],
        weekend=table.share("weekend", default=base.weekend),
        shared=table.share("shared", default=base.shared, most=SHARED_MOST),
        writes_an_hour=table.number(
            "writes_an_hour", default=base.writes_an_hour, least=0, most=1e6
        ),
        rows=table.integer("rows", default=base.rows, least=1, most=POOL_ROWS_MAX),
        deletes=table.share("deletes", default=base.deletes),
    )
    table.refuse_unknown()
    return profile
