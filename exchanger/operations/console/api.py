"""The handlers of ``/api``: about the console, the active policy, one of its documents, and how a request is decided.

All of it comes from a snapshot, which never changes, so long responses are made in slices while requests continue. Must not know: who may
ask, or where policy comes from.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, final
from urllib.parse import parse_qs

import attrs
import trio

from exchanger.authz.decision.answer import ASSUMED, STAND_INS_BY_NAME, asked_request
from exchanger.authz.decision.check import DecisionRules
from exchanger.authz.decision.withheld import CREDENTIALS, EMPTY, INVALID, stand_in
from exchanger.model.authority import WILDCARD
from exchanger.model.entry import Source
from exchanger.model.issuer import AUTHORIZATION, Issuer
from exchanger.model.notice import Notices
from exchanger.model.request import HttpRequest
from exchanger.model.text import HOST_LIMIT
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.network import SYSTEM, RunSync
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.explained import explained
from exchanger.operations.console.issuer_view import shown_profiles
from exchanger.operations.console.message import TimeSlice, encode, error, json_bytes, json_response
from exchanger.operations.console.policy_view import (
    Lines,
    claims_of,
    health_of,
    shown_document,
    shown_entry,
    shown_notices,
    shown_problem,
    shown_refusal,
)
from exchanger.policy.conflicts import documents_in_conflict
from exchanger.policy.documents.document import entry_lines
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable

# Documents in the list; if there are more, those with problems come first.
MAX_DOCUMENTS: Final = 1000
# Hosts that are suggested: more than anybody reads, and sorted in a tenth of a millisecond.
MAX_HOSTS: Final = 500
MAX_METHOD: Final = 32
# Characters of a path to explain: the most that the policy itself reads (``policy.path``).
MAX_PATH: Final = 8192
# Characters of a query: a path in which each character is escaped.
MAX_QUERY: Final = 4 * MAX_PATH
# Fields of a query: method, host and path, and the headers of a request, of which gateways allow a hundred.
MAX_FIELDS: Final = 112
# Entries whose lines are kept for the next explanation: about ten megabytes.
MAX_KEPT_LINES: Final = 100_000

# Documents and their health, by Namespace and name: strings sort fast, even thousands of them.
_Shelf = dict[str, dict[str, tuple[EffectiveDocument, str]]]

_NOT_FOUND: Final = error(404, "there is no such policy")
_NO_NAME: Final = error(400, "the query needs namespace and name, once each")
_NO_HEADER: Final = error(400, 'each header must be "Name: value"')
_NO_CREDENTIALS: Final = error(400, "credentials are not accepted here: say with credentials= which kind the request has")
_NO_TOKEN: Final = error(400, f'each token must be "Name: held", where held is a number, {EMPTY} or {INVALID}')
_NO_KIND: Final = error(400, f"credentials must be one of {', '.join(STAND_INS_BY_NAME)}")
_NO_REQUEST: Final = error(400, "the query needs method, host and path, once each, and of usual length")


@final
@attrs.frozen
class ConsoleFacts:
    """What this console is."""

    version: str
    policy_source: str
    shows_tokens: bool = False


@final
@attrs.frozen
class PolicyNow:
    """The newest policy, ``None`` without one, and the number of its version.

    ``is_missing``: it decides nothing, since a policy is required and no entry is active. ``notices``: see ``Sources``.
    """

    snapshot: PolicySnapshot | None
    revision: int
    is_missing: bool = False
    notices: tuple[Notices, ...] = ()

    def is_same(self, other: "PolicyNow") -> bool:
        """Return whether there is nothing new in ``other``; snapshots are compared by identity, since equality would cost too much."""
        return self.snapshot is other.snapshot and (self.revision, self.notices) == (other.revision, other.notices)


@final
@attrs.define(eq=False)
class Api:
    """The handlers of ``/api``."""

    _about: ConsoleFacts
    _policy: Callable[[], PolicyNow]
    _access: ConsoleAccess
    _rules: Callable[[], DecisionRules] = DecisionRules
    _is_discovered: Callable[[Issuer], bool] = lambda _issuer: False
    _run_sync: RunSync = SYSTEM.run_sync
    _list: tuple[PolicyNow, bytes] | None = attrs.field(default=None, init=False, repr=False)
    _lined: dict[Source, Lines] = attrs.field(factory=dict, init=False, repr=False)
    _lined_of: PolicySnapshot | None = attrs.field(default=None, init=False, repr=False)
    _working: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    # Work that cannot be sliced is done in a thread; one at a time is as fast as all together.
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Return the handlers by method and path."""
        return {
            ("GET", "/api/about"): self.about,
            ("GET", "/api/policy"): self.policy,
            ("GET", "/api/policy/document"): self.document,
            ("GET", "/api/explain"): self.explain,
            ("GET", "/api/hosts"): self.hosts,
            ("GET", "/api/issuers"): self.issuers,
        }

    async def about(self, request: Request) -> Response:
        """Describe this service; the version is only for clients that may see data."""
        known = await self._access.admit(request) is None
        return json_response(
            {
                "version": self._about.version if known else None,
                "mode": "service",
                "shows_tokens": self._about.shows_tokens,
                "lab": False,
                "token_required": self._access.required,
                "policy_source": self._about.policy_source,
            }
        )

    async def policy(self, _request: Request) -> Response:
        """List the active documents, made once for each version."""
        async with self._working:
            now = self._policy()
            known = self._list
            if known is None or not known[0].is_same(now):
                self._list = known = (now, await _listed(now))
        return json_bytes(known[1])

    async def document(self, request: Request) -> Response:
        """Show one document: its text, its entries and its problems."""
        query = _once(_query(request), "namespace", "name")
        if query is None:
            return _NO_NAME
        now = self._policy()
        document = None if now.snapshot is None else now.snapshot.document(Source(*query))
        if now.snapshot is None or document is None:
            return _NOT_FOUND
        async with self._working:
            lines = await self._lines(document, now.snapshot)
            time_slice, entries = TimeSlice(), list[bytes]()
            for claim in claims_of(document):
                if claim.index is not None:  # otherwise it is the document as a whole, which is not an entry
                    entries.append(encode(shown_entry(claim, now.snapshot, lines)))
                    await time_slice.step()
            problems = list[bytes]()
            for closed_scope in document.problems:
                problems.append(encode(shown_problem(closed_scope)))
                await time_slice.step()
            refused = list[bytes]()
            for refusal in document.refused:
                refused.append(encode(shown_refusal(refusal)))
                await time_slice.step()
        source = document.source
        head = encode({"namespace": source.namespace, "name": source.name, "revision": now.revision, "text": document.text})
        lists = (b",".join(entries), b",".join(problems), b",".join(refused))
        return json_bytes(b'%b,"entries":[%b],"problems":[%b],"refused":[%b]}' % (head[:-1], *lists))

    async def hosts(self, _request: Request) -> Response:
        """List hosts that the active policy names, as suggestions for a question: at most ``MAX_HOSTS`` of them."""
        await trio.lowlevel.checkpoint()
        snapshot = self._policy().snapshot or PolicySnapshot.EMPTY
        known = snapshot.hosts.by_name
        listed = sorted(printable(host, HOST_LIMIT) for host in islice(known, MAX_HOSTS) if not host.startswith(WILDCARD))
        return json_response({"listed": listed, "more": max(0, len(known) - MAX_HOSTS)})

    async def issuers(self, _request: Request) -> Response:
        """List the active issuer profiles, without anything secret."""
        return json_response(shown_profiles(self._rules().issuers.values(), self._is_discovered))

    async def explain(self, request: Request) -> Response:
        """Explain how a request is decided."""
        now, rules = self._policy(), self._rules()
        asked = _asked(request, frozenset(name for issuer in rules.issuers.values() for name in issuer.subject.headers))
        if isinstance(asked, Response):
            return asked
        async with self._working:
            # For a host with a thousand entries and a path with many interpretations, this takes hundredths of a second.
            look = partial(explained, asked, now.snapshot, rules, is_missing=now.is_missing)
            found = await self._run_sync(look, limiter=self._thread)
            lines = {source: await self._lines(document, found.snapshot) for source, document in found.documents().items()}
        return json_response(found.shown(lines, now.revision))

    async def _lines(self, document: EffectiveDocument, snapshot: PolicySnapshot) -> Lines:
        """Return the lines of the entries, computed once a version and in a thread: a document of a megabyte takes a part of a second.

        While a thread computes, everything else waits for it at each system call (5 ms), requests included.
        """
        if document.text is None:
            return ()
        if self._lined_of is not snapshot or sum(map(len, self._lined.values())) > MAX_KEPT_LINES:
            self._lined_of = snapshot
            self._lined.clear()
        lines = self._lined.get(document.source)
        if lines is None:
            lines = await self._run_sync(entry_lines, document.text, limiter=self._thread)
            self._lined[document.source] = lines
        return lines


async def _listed(now: PolicyNow) -> bytes:
    """Return the list of documents, in slices: the conflicts of 100,000 entries take a part of a second to find."""
    snapshot = now.snapshot or PolicySnapshot.EMPTY
    time_slice, conflicts = TimeSlice(), set[Source]()
    for source in documents_in_conflict(snapshot):
        if source is not None:
            conflicts.add(source)
        await time_slice.step()
    unhealthy, healthy = _Shelf(), _Shelf()
    for document in snapshot.documents():
        health = health_of(document, conflicts)
        shelf = healthy if health == "ok" else unhealthy
        shelf.setdefault(document.source.namespace, {})[document.source.name] = (document, health)
        await time_slice.step()
    chosen: dict[str, dict[str, bytes]] = {}
    left = MAX_DOCUMENTS
    for shelf in (unhealthy, healthy):
        for namespace in sorted(shelf):
            for name in sorted(shelf[namespace])[:left]:
                chosen.setdefault(namespace, {})[name] = encode(shown_document(*shelf[namespace][name]))
                left -= 1
                await time_slice.step()
    namespaces = {namespace: [documents[name] for name in sorted(documents)] for namespace, documents in sorted(chosen.items())}
    parts = [b'{"name":%b,"documents":[%b]}' % (encode(name), b",".join(lines)) for name, lines in namespaces.items()]
    head = encode(
        {
            "revision": now.revision,
            "ready": now.snapshot is not None and not now.is_missing,
            "entries": snapshot.entry_count,
            "invalid_documents": snapshot.invalid_documents,
            "more": max(0, snapshot.document_count - MAX_DOCUMENTS),
            "notices": shown_notices(now.notices),
        }
    )
    return b'%b,"namespaces":[%b]}' % (head[:-1], b",".join(parts))


def _asked(request: Request, with_tokens: frozenset[str]) -> HttpRequest | Response:
    """Return the request in question, or the problem of the question.

    ``header`` fields have ``Name: value`` each. Credentials stay with the client: ``credentials`` says what kind the request has, and
    ``assumed`` that the token is wherever it is read from. ``token`` fields say what other headers hold, as in ``withheld.numbered``.
    ``with_tokens`` are headers whose values are tokens.
    """
    query = _query(request)
    line = _once(query, "method", "host", "path")
    if line is None:
        return _NO_REQUEST
    method, host, path = line
    if not method or len(method) > MAX_METHOD or len(host) > HOST_LIMIT or len(path) > MAX_PATH:
        return _NO_REQUEST
    headers: list[tuple[str, str]] = []
    for text in query.get("header", []):
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            return _NO_HEADER
        if name.strip().lower() in CREDENTIALS | with_tokens:
            return _NO_CREDENTIALS
        headers.append((name.strip(), value.strip(" \t")))
    for text in query.get("token", []):
        name, _, held = text.partition(":")
        token = stand_in(held.strip())
        if token is None or not name.strip() or name.strip().lower() in CREDENTIALS:
            return _NO_TOKEN
        headers.append((name.strip(), token))
    kinds = query.get("credentials", ["bearer"])
    authorization = STAND_INS_BY_NAME.get(kinds[0]) if len(kinds) == 1 else None
    if authorization is None:
        return _NO_KIND
    if authorization == ASSUMED and "credentials" in query and query.get("assumed") != ["true"]:
        authorization = f"Bearer {stand_in('1')}"
    if authorization:
        headers.append((AUTHORIZATION, authorization))
    return asked_request(method, host, path, headers, raw=query.get("raw") == ["true"])


def _query(request: Request) -> dict[str, list[str]]:
    """Return the fields of the query; none if it is too long or has too many."""
    if len(request.query) > MAX_QUERY:
        return {}
    try:
        return parse_qs(request.query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="surrogateescape")
    except ValueError:
        return {}


def _once(query: Mapping[str, Sequence[str]], *names: str) -> tuple[str, ...] | None:
    """Return the values of these fields of ``query``, or ``None`` unless each occurs exactly once."""
    values = [query.get(name, []) for name in names]
    return tuple(value[0] for value in values) if all(len(value) == 1 for value in values) else None
