"""One HTML file that shows a run: no network, no other file, light and dark.

The text and the curves are there without scripts; the network with its time slider and the
tables of sites and links are drawn by `page.js` from the data in the page. Whatever comes from a
scenario is escaped, and a policy in the page forbids it to load or send anything.
"""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from syncsim.events import Mishap
from syncsim.report.curves import curves, svg
from syncsim.report.layout import Point, positions
from syncsim.report.packing import packed_columns, packed_sets
from syncsim.report.text import duration, number, outcome, scaled_words, size
from syncsim.results import Results
from syncsim.scenario import Scenario

MISHAPS_MAX = 500  # more than anybody reads; the count says how many there were
NAMES_SHOWN = 6  # sites of one mishap

_DOT_LEAST, _DOT_MOST = 0.004, 0.03  # radius of a site, where the drawing goes from -1 to 1
_PARTS = Path(__file__).parent


def page(results: Results, scenario: Scenario, mishaps: Sequence[Mishap] = ()) -> str:
    """The report of one run.

    Args:
        mishaps: What befell the sites, for the list and the marks on the time line.
    """
    quiet_ms = results.faults_ms
    drawings = "\n".join(
        f"<figure><figcaption>{escape(curve.title)}</figcaption>"
        f"{svg(curve, quiet_ms=quiet_ms)}</figure>"
        for curve in curves(results)
    )
    values = {
        "title": escape(results.title),
        "outcome": escape(outcome(results)),
        "state": "good" if results.converged and results.held else "bad",
        "story": _paragraphs(scenario.story),
        "scaled": _scaled(results),
        "figures": _figures(results),
        "curves": drawings,
        "checkers": _rows(results.verdicts.items()) or _empty("no checker was asked", 2),
        "faults": _rows((kind, number(count)) for kind, count in results.faults.items() if count)
        or _empty("none took place", 2),
        "mishaps": _mishaps(mishaps, scenario),
        "classes": _classes(scenario),
        "version": escape(results.version),
        "seed": str(results.seed),
        "trace": escape(results.trace),
        "style": (_PARTS / "page.css").read_text(encoding="utf-8"),
        "script": (_PARTS / "page.js").read_text(encoding="utf-8"),
        "data": _json(_data(results, scenario, mishaps)),
    }
    text = (_PARTS / "page.html").read_text(encoding="utf-8")
    # Split first: a value that contains another one's mark is left alone.
    pieces = text.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [values[name], rest]
    return "".join(filled)


def _data(results: Results, scenario: Scenario, mishaps: Sequence[Mishap]) -> dict[str, Any]:
    """What the script needs; a list per column, since names of keys would be most of it."""
    index = {site.name: place for place, site in enumerate(results.sites)}
    pairs = [(index[link.one], index[link.other]) for link in results.links]
    parents = [index.get(site.parent) if site.parent else None for site in results.sites]
    points = positions(parents, pairs)
    return {
        "start_unix_ms": scenario.start_unix_ms,
        "faults_ms": results.faults_ms,
        "times_ms": list(results.times_ms),
        "dot": _dot(points),
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "sites": {
            "name": [site.name for site in results.sites],
            "parent": [site.parent or "" for site in results.sites],
            "writes": [site.writes for site in results.sites],
            "arrived": [site.arrived for site in results.sites],
            "staleness_ms": [list(site.staleness_ms) for site in results.sites],
            "rounds": [site.rounds for site in results.sites],
            "failures": [site.failures for site in results.sites],
        },
        "links": {
            "one": [one for one, _ in pairs],
            "other": [other for _, other in pairs],
            "link_class": [link.link_class for link in results.links],
            "rounds": [link.rounds for link in results.links],
            "messages": [link.messages for link in results.links],
            "lost": [link.lost for link in results.links],
            "bytes_up": [link.bytes_up for link in results.links],
            "bytes_down": [link.bytes_down for link in results.links],
        },
        "series": {name: list(values) for name, values in results.series.items()},
        "behind": packed_columns(results.behind),
        "links_down": packed_sets(results.links_down),
        "mishaps": [
            [mishap.at_ms, mishap.until_ms, mishap.kind, _whom(mishap, scenario)]
            for mishap in mishaps[:MISHAPS_MAX]
        ],
    }


def _json(plain: dict[str, Any]) -> str:
    """JSON that cannot end the element it stands in, nor begin a comment."""
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)  # ASCII
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _dot(points: Sequence[Point]) -> float:
    """A radius at which nearly all neighbours stay apart."""
    in_order = sorted(points)
    nearest = []
    for place, (x, y) in enumerate(in_order):
        least = 2.0
        for other_x, other_y in in_order[place + 1 :]:
            if other_x - x >= least:
                break
            least = min(least, ((other_x - x) ** 2 + (other_y - y) ** 2) ** 0.5)
        nearest.append(least)
    crowded = sorted(nearest)[len(nearest) // 10] if nearest else 2.0
    return round(min(_DOT_MOST, max(_DOT_LEAST, 0.42 * crowded)), 4)


def _figures(results: Results) -> str:
    p50, p90, p99, worst = results.staleness_ms
    if results.converged:
        ended = f"{duration(results.converged_ms)} after the quiet began"
    else:
        ended = f"not within {duration(results.quiet_ms)} of quiet"
    bound = "none can be computed" if results.bound_ms is None else duration(results.bound_ms)
    figures = (
        ("converged", ended),
        ("computed bound", bound),
        ("staleness p50", duration(p50)),
        ("staleness p90", duration(p90)),
        ("staleness p99", duration(p99)),
        ("greatest staleness", duration(worst)),
        ("bytes", size(results.bytes)),
        ("exchanges", f"{number(results.rounds)}, {number(results.failures)} broke off"),
        ("writes", f"{number(results.writes)} in {number(results.transactions)} transactions"),
        ("conflicts on record", number(results.conflicts)),
        ("parked at the end", number(results.parked)),
        ("lost updates", number(results.lost_updates)),
        ("sites, links", f"{number(len(results.sites))}, {number(len(results.links))}"),
        (
            "time",
            f"{duration(results.faults_ms)}, then at most {duration(results.quiet_ms)} of quiet",
        ),
        ("rule, choice, level", f"{results.rule}, {results.choice}, {results.level}"),
        ("seed", str(results.seed)),
    )
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures
    )


def _scaled(results: Results) -> str:
    words = scaled_words(results.scaled)
    return f'<p class="note">{escape(words)}</p>' if words else ""


def _paragraphs(text: str) -> str:
    parts = [part.strip() for part in text.split("\n\n")]
    return "".join(f"<p>{escape(part)}</p>" for part in parts if part)


def _mishaps(mishaps: Sequence[Mishap], scenario: Scenario) -> str:
    rows = [
        (duration(mishap.at_ms), mishap.kind, _lasted(mishap), _whom(mishap, scenario))
        for mishap in mishaps[:MISHAPS_MAX]
    ]
    if len(mishaps) > MISHAPS_MAX:
        rows.append(("", f"and {number(len(mishaps) - MISHAPS_MAX)} more", "", ""))
    return _rows(rows) or _empty("none", 4)


def _lasted(mishap: Mishap) -> str:
    return duration(mishap.until_ms - mishap.at_ms) if mishap.until_ms > mishap.at_ms else ""


def _whom(mishap: Mishap, scenario: Scenario) -> str:
    names = [scenario.sites[site].name for site in mishap.sites]
    if not names:
        return f"{len(mishap.cut)} ways between sites"
    text = ", ".join(names[:NAMES_SHOWN])
    return text if len(names) <= NAMES_SHOWN else f"{text} and {len(names) - NAMES_SHOWN} more"


def _classes(scenario: Scenario) -> str:
    used = dict.fromkeys(link.link_class for link in scenario.links)
    rows = []
    for name in used:
        kind = scenario.link_classes[name]
        delay = f"{kind.delay.kind}, {number(kind.delay.middle_ms)} ms"
        speed = " / ".join(
            f"{size(bytes_s)}/s" if bytes_s else "any"
            for bytes_s in (kind.up_bytes_s, kind.down_bytes_s)
        )
        opens = "by chance" if kind.meetings else "at times" if kind.open_ms else "always"
        loss = f"{100 * kind.loss:g} %"
        rows.append((name, delay, loss, speed, opens, kind.source))
    return _rows(rows) or _empty("no links", 6)


def _rows(rows: Any) -> str:
    return "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )


def _empty(words: str, columns: int) -> str:
    return f'<tr><td colspan="{columns}">{escape(words)}</td></tr>'
