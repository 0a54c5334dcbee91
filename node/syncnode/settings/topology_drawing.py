"""A topology as a picture: a tree of text, Mermaid for documents, SVG for a wall."""

from collections.abc import Iterator
from html import escape

from syncnode.settings.toml_reader import duration_text
from syncnode.settings.topology import SiteEntry, Topology
from syncnode.settings.topology_check import beside

STEP_X, STEP_Y, BOX_Y, MARGIN = 16, 96, 40, 24  # of the SVG, in pixels
CHAR_X = 7.5  # of its letters, about


def text(topology: Topology) -> str:
    """The tree of parents and children, each site on a line; peers behind it."""
    tree = _Tree(topology)
    return "\n".join(line for top in tree.tops for line in tree.lines(top, "", ""))


def mermaid(topology: Topology) -> str:
    """A flow chart for Mermaid: parents above, peers dotted."""
    number = {name: f"s{place}" for place, name in enumerate(topology.sites_by_name)}
    lines = ["flowchart TD"]
    for site in topology.sites_by_name.values():
        label = "<br/>".join(_escaped(part) for part in _label(site))
        lines.append(f'    {number[site.name]}["{label}"]')
    for site in topology.sites_by_name.values():
        lines += [f"    {number[parent]} --- {number[site.name]}" for parent in site.parents]
    lines += [f"    {number[one]} -.- {number[other]}" for one, other in beside(topology)]
    return "\n".join(lines)


def svg(topology: Topology) -> str:
    """A picture that needs nothing else: a box for each site, lines to parents, dashes to peers."""
    boxes = _placed(topology)
    right = max((x + width for x, _, width in boxes.values()), default=0) + MARGIN
    below = max((y for _, y, _ in boxes.values()), default=0) + BOX_Y + MARGIN
    title = escape(topology.network or topology.path.name)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:.0f} {below:.0f}" '
        f'width="{right:.0f}" height="{below:.0f}" font-family="sans-serif" font-size="13">',
        f"<title>{title}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for site in topology.sites_by_name.values():
        parts += [_line(boxes[parent], boxes[site.name]) for parent in site.parents]
    parts += [_arc(boxes[one], boxes[other]) for one, other in beside(topology)]
    parts += [_box(boxes[name], site) for name, site in topology.sites_by_name.items()]
    return "\n".join([*parts, "</svg>"])


class _Tree:
    """Who is above whom, and beside whom."""

    def __init__(self, topology: Topology) -> None:
        self.sites = topology.sites_by_name
        self.tops = [site.name for site in self.sites.values() if site.parent is None]
        self.children: dict[str, list[str]] = {name: [] for name in self.sites}
        self.peers: dict[str, list[str]] = {name: [] for name in self.sites}
        for site in self.sites.values():
            if site.parent:
                self.children[site.parent].append(site.name)
        for one, other in beside(topology):
            self.peers[one].append(other)
            self.peers[other].append(one)

    def lines(self, name: str, first: str, rest: str) -> Iterator[str]:
        """The site, and below it those that it is the first parent of."""
        peers, others = self.peers[name], self.sites[name].parents[1:]
        about = _label(self.sites[name])[1]
        with_peers = f"  <-> {', '.join(peers)}" if peers else ""
        also = f"  and below {', '.join(others)}" if others else ""
        yield f"{first}{name}  ({about}){also}{with_peers}"
        for child in self.children[name]:
            last = child == self.children[name][-1]
            branch, below = ("└── ", "    ") if last else ("├── ", "│   ")
            yield from self.lines(child, rest + branch, rest + below)


def _label(site: SiteEntry) -> list[str]:
    """The name, and what is known of how it is reached."""
    every = f"every {duration_text(site.every_ms)}" if site.every_ms else ""
    about = ", ".join(part for part in (site.url or "calls others", every) if part)
    return [site.name, about]


def _escaped(label: str) -> str:
    return label.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")


# SVG

_Box = tuple[float, float, float]
"""Left, top and width."""


def _placed(topology: Topology) -> dict[str, _Box]:
    """Leaves side by side, each parent in the middle above its children."""
    tree = _Tree(topology)
    boxes: dict[str, _Box] = {}
    right = float(MARGIN)

    def place(name: str, level: int) -> tuple[float, float]:
        nonlocal right
        width = max(len(part) for part in _label(tree.sites[name])) * CHAR_X + 2 * STEP_X
        spans = [place(child, level + 1) for child in tree.children[name]]
        middle = (spans[0][0] + spans[-1][1]) / 2 if spans else right + width / 2
        left = max(middle - width / 2, float(MARGIN))
        boxes[name] = (left, MARGIN + level * STEP_Y, width)
        right = max(right, left + width + STEP_X)
        return left, left + width

    for top in tree.tops:
        place(top, 0)
    return boxes


def _line(parent: _Box, child: _Box) -> str:
    (x1, y1), (x2, y2) = _foot(parent), (child[0] + child[2] / 2, child[1])
    half = (y1 + y2) / 2
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{half:.0f} {x2:.0f},{half:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#567" stroke-width="1.5"/>'


def _arc(one: _Box, other: _Box) -> str:
    (x1, y1), (x2, y2) = _foot(one), _foot(other)
    deep = max(y1, y2) + STEP_Y / 3
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{deep:.0f} {x2:.0f},{deep:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#a64" stroke-dasharray="5 4"/>'


def _foot(box: _Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + BOX_Y


def _box(box: _Box, site: SiteEntry) -> str:
    left, top, width = box
    name, about = (escape(part) for part in _label(site))
    middle = left + width / 2
    fill = "#eef4fb" if site.url else "#f7f7f7"
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{BOX_Y}" rx="6" '
        f'fill="{fill}" stroke="#567"/>'
        f'<text x="{middle:.0f}" y="{top + 16:.0f}" text-anchor="middle" font-weight="bold">'
        f"{name}</text>"
        f'<text x="{middle:.0f}" y="{top + 32:.0f}" text-anchor="middle" fill="#456" '
        f'font-size="11">{about}</text>'
    )
