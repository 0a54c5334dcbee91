"""Joins of populated sites in one process, question by question."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sites import Site

from syncnode.comparing.answers import Answers
from syncnode.identity.credentials import decode_token, load_key
from syncnode.operations.membership import heard_join, invite, join_answer, join_by, kept_back
from syncnode.reports import JoinReport
from syncproto.joining import COMPARE, JoinRequest, encode_answer

URL = "https://kigali.example:8470"


def _nothing(_: JoinRequest) -> None:
    """Nothing happens between two requests."""


@dataclass
class Inviting:
    """A site that answers requests to join as `serve` does.

    Attributes:
        before: What happens before a request is answered.
        asked: Each request, with the bytes of its question and of the finding.
    """

    site: Site
    before: Callable[[JoinRequest], object] = _nothing
    asked: list[tuple[JoinRequest, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers = Answers(self.site.replica)

    def admit(
        self, joining: Site, before: Callable[[JoinRequest], object] = _nothing
    ) -> JoinReport:
        """Let a site join as a child, whatever differs."""
        token = invite(self.site.settings, joining.name, role="child", url=URL).token
        self.before = before
        return self.let_in(joining, token)

    def let_in(self, joining: Site, token: str) -> JoinReport:
        return join_by(
            joining.settings,
            decode_token(token),
            self.answer,
            confirm=lambda _: True,
            progress=lambda _: None,
        )

    def answer(self, body: bytes) -> bytes:
        site = self.site
        key, finding = load_key(site.settings.key), b""
        request, role = heard_join(site.replica, key, site.settings, body)
        self.before(request)
        if request.kind == COMPARE:
            site.replica.seal()
            unsent = kept_back(site.replica, request, role)
            finding = self.answers.answer(request.question, unsent)
        self.asked.append((request, len(request.question), len(finding)))
        return encode_answer(join_answer(site.settings, key, role, finding))

    @property
    def bytes_told(self) -> int:
        """Of all questions and findings."""
        return sum(question + finding for _, question, finding in self.asked)
