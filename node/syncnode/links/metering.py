"""Keeps to the budgets of links: counts what crosses, and says when a call must wait.

Bodies are counted as they are sent, with what a request costs besides, about; what was spent
outlives the process, so that a site whose power fails every hour does not begin every hour anew.
"""

import json
from collections import deque
from collections.abc import Callable

from syncnode.store.database import Transaction
from syncproto.budget import Allowance, Budget
from syncproto.identity import SiteId, site_text

SETTING = "budgets"
BESIDE_BYTES = 310  # headers both ways and TLS records of one request on a connection that stands
NEEDED_BYTES = 2_048  # with less room than this a request is not worth its headers
ALL_LINKS = "all"


class Meter:
    """The budgets of one site.

    Args:
        shared: For all links together.
        of_link: For a link alone.
        wall_ms: Our clock.
    """

    def __init__(
        self,
        shared: Callable[[], Allowance | None],
        of_link: Callable[[SiteId], Allowance | None],
        wall_ms: Callable[[], int],
    ) -> None:
        self._shared = shared
        self._of_link = of_link
        self._wall_ms = wall_ms
        self._budgets: dict[str, Budget] = {}
        self._spent: dict[str, list[tuple[int, int]]] = {}  # by earlier processes
        self._changed = False
        self.obey = True
        """Whether calls wait; what people ask for does not, and counts."""

    def crossed(self, peer: SiteId, count: int) -> None:
        """A request and its answer, of so many bytes in their bodies."""
        for budget in self._of(peer):
            budget.spend(self._wall_ms(), count + BESIDE_BYTES)
            self._changed = True

    def wait_ms(self, peer: SiteId) -> int:
        """How long until a request to the peer may be made; 0 for now."""
        now_ms = self._wall_ms()
        if not self.obey:
            return 0
        return max((b.wait_ms(now_ms, NEEDED_BYTES) for b in self._of(peer)), default=0)

    def room(self, peer: SiteId) -> int | None:
        """Bytes that may cross now; None where nothing bounds them."""
        now_ms = self._wall_ms()
        return min((b.room(now_ms) for b in self._of(peer)), default=None)

    def read(self, tx: Transaction) -> None:
        """What earlier processes spent."""
        stored = tx.value(f"SELECT value FROM syncnode_setting WHERE name={tx.mark}", (SETTING,))
        self._spent = json.loads(stored) if stored else {}

    @property
    def has_changed(self) -> bool:
        """There is something for `put` to write."""
        return self._changed

    def put(self, tx: Transaction) -> None:
        """Write down what was spent."""
        m = tx.mark
        spent = {name: list(budget.spent) for name, budget in self._budgets.items()}
        tx.execute(f"DELETE FROM syncnode_setting WHERE name={m}", (SETTING,))
        tx.execute(
            f"INSERT INTO syncnode_setting (name, value) VALUES ({m}, {m})",
            (SETTING, json.dumps(spent)),
        )
        self._changed = False

    def _of(self, peer: SiteId) -> list[Budget]:
        found = []
        of_both = ((ALL_LINKS, self._shared()), (site_text(peer), self._of_link(peer)))
        for name, allowance in of_both:
            if allowance is None:
                self._budgets.pop(name, None)
                continue
            budget = self._budgets.get(name)
            if budget is None or budget.allowance != allowance:
                before = budget.spent if budget is not None else self._spent.get(name, ())
                spent = deque((began, count) for began, count in before)
                budget = self._budgets[name] = Budget(allowance, spent)
            found.append(budget)
        return found


UNMETERED = Meter(lambda: None, lambda _: None, lambda: 0)
