"""The webhook over HTTP: ``POST /validate`` and ``/unselected`` for API servers, ``/healthz`` and ``/readyz`` for probes.

An AdmissionReview is answered by its own kind. Everything else that is wrong is an HTTP error, after which the API server does what
``failurePolicy`` says. This includes requests before the cluster is known (503): an answer without data would be taken for a judgement.

Must not know: how the cluster is followed, TLS or signals.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar, assert_never, final

import attrs
import structlog
import trio

from exchanger.app.admission.judgement import KnownPolicy, check
from exchanger.app.admission.review import ALLOWED, NoReview, ReviewAnswer, ReviewedChange, Unconcerned, read_review, write_review
from exchanger.model.entry import Source
from exchanger.model.selector import Selector
from exchanger.model.text import DETAIL_LIMIT, POLICY_LIMIT
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.http.server import HttpServer
from exchanger.net.http.tls import Tls
from exchanger.net.network import SYSTEM, RunSync
from exchanger.policy.documents.document import Labels
from exchanger.policy.notices import not_enabled, not_named, of_config_maps
from exchanger.policy.selection import ConfigMap, Text
from exchanger.util.duration import parse_duration
from exchanger.util.text import printable

T = TypeVar("T")

PATH: Final = "/validate"
# For ConfigMaps that are not selected. They are never refused, so API servers need not wait for an answer.
UNSELECTED_PATH: Final = "/unselected"
HEALTHY: Final = "/healthz"
READY: Final = "/readyz"
# A ConfigMap has at most 1 MiB of data, an update carries it twice, and Go writes each <, > and & of it in six bytes. Annotations (256 KiB
# at most) and managed fields come on top of each. Requests of more than 3 MiB never get this far: the API server refuses them.
BODY_BYTES: Final = 16 * 1024 * 1024
# The longest that an API server waits for a webhook, and its default
# (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#timeouts).
LONGEST_S: Final = 30.0
TIMEOUT_S: Final = 10.0
LIMITS: Final = HttpLimits(
    # An API server keeps up to 25 idle connections to a webhook and opens more under load; a cluster has three or five API servers.
    connections=256,
    # The head of a webhook's request has a few hundred bytes.
    head_bytes=8 * 1024,
    head_lines=64,
    # API servers close idle connections after 90 s.
    idle_s=150.0,
    arrival_s=10.0,
    answer_s=10.0,
    body_bytes=BODY_BYTES,
    # The handler has its own, by the request's timeout.
    handler_s=LONGEST_S + 1.0,
    # A few of the largest, or hundreds of ordinary ones.
    bodies_bytes=64 * 1024 * 1024,
)
# Bodies up to this size are checked concurrently; a larger one waits for the other large ones, so that one author's huge
# documents do not delay all other authors' small ones.
LIGHT_BYTES: Final = 64 * 1024
LIGHT_THREADS: Final = 4
# Seconds to wait for a Namespace that was just created, as when one command applies it with its policy. Its event takes a few
# milliseconds.
NAMESPACE_S: Final = 1.0
_LOOK_S: Final = 0.02

_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)
_JSON: Final = (("Content-Type", "application/json"),)


class Cluster(Protocol):
    """What the webhook asks about the cluster."""

    @property
    def known(self) -> KnownPolicy | None:
        """The known state; ``None`` as long as it is incomplete."""

    def labels_of(self, namespace: str, /) -> tuple[Labels, ...] | None:
        """Return the descriptions of a selected Namespace by its labels, as ``selection.Text`` has them; ``None`` if it is not selected."""


@final
@attrs.define(eq=False)
class Webhook:
    """Answers API servers. ``namespaces`` and ``config_maps`` select what counts; ``named``: Namespaces are given by name.

    ``run_sync`` runs a function in a thread.
    """

    cluster: Cluster
    namespaces: Selector
    config_maps: Selector
    named: bool = False
    tls: Tls | None = None
    run_sync: RunSync = SYSTEM.run_sync
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    http: HttpServer = attrs.field(init=False)
    _light: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(LIGHT_THREADS), init=False, repr=False)
    _heavy: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        failures = {status: _text(status, text) for status, text in _FAILURES.items()}
        self.http = HttpServer(self._route, LIMITS, (), failures, self._failed, tls=self.tls)

    @property
    def is_ready(self) -> bool:
        """Whether changes can be checked, and new connections are accepted."""
        return self.cluster.known is not None and not self.http.draining

    async def _route(self, request: Request) -> Response | Handler:
        await trio.lowlevel.checkpoint()
        if request.path in {HEALTHY, READY}:
            if request.method not in {"GET", "HEAD"}:
                return _text(405, "use GET", ("Allow", "GET, HEAD"))
            return _text(200, "ok") if request.path == HEALTHY or self.is_ready else _STARTING
        if request.path not in {PATH, UNSELECTED_PATH}:
            return _text(404, f"the webhook is at {PATH}")
        if request.method != "POST":
            return _text(405, "use POST", ("Allow", "POST"))
        if request.value("content-type").partition(";")[0].strip().lower() != "application/json":
            return _text(415, "the body must be application/json")
        if self.cluster.known is None:
            return _STARTING
        return self._review

    async def _review(self, request: Request) -> Response:
        with trio.move_on_after(_timeout(request)):
            return await self._answered(request.body, unselected=request.path == UNSELECTED_PATH)
        return _text(504, _FAILURES[504])

    async def _answered(self, body: bytes, *, unselected: bool) -> Response:
        limiter = self._light if len(body) <= LIGHT_BYTES else self._heavy
        review = await self._in_thread(partial(read_review, body), limiter)
        match review:
            case NoReview(reason):
                return _text(400, reason)
            case Unconcerned(uid):
                answer = ALLOWED
            case ReviewedChange(uid, after, before) if unselected:
                answer = self._hint(after, before)
            case ReviewedChange(uid, after, before):
                answer = await self._check(after, before, limiter)
            case _:
                assert_never(review)
        return Response(200, _JSON, write_review(uid, answer))

    def _hint(self, after: ConfigMap, before: ConfigMap | None) -> ReviewAnswer:
        """Return a warning about a ConfigMap that is not selected although it looks like a policy, unless it did so before."""
        if before is not None and (before.labels, Text.of(before)) == (after.labels, Text.of(after)):
            return ALLOWED
        unselected = () if self._selects(after) else (after,)
        return ReviewAnswer(warnings=tuple(map(str, of_config_maps(unselected, {}, self.config_maps, self.namespaces))))

    async def _check(self, after: ConfigMap, before: ConfigMap | None, limiter: trio.CapacityLimiter) -> ReviewAnswer:
        if not self._selects(after):
            return ALLOWED
        # Changing the labels or annotations of a document that is already broken makes nothing worse. One that comes into the selection is
        # new, whatever it was before.
        if before is not None and self._selects(before) and Text.of(before) == Text.of(after):
            return ALLOWED
        source = Source(after.namespace, after.name)
        labels = await self._labels_of(after.namespace)
        if labels is None:
            notice = not_named(source) if self.named else not_enabled(source, self.namespaces, known=False)
            return ReviewAnswer(warnings=(str(notice),))
        known = self.cluster.known or KnownPolicy()
        answer = await self._in_thread(partial(check, source, Text.of(after, labels), known), limiter)
        if answer.refused is not None:
            text = " ".join(answer.refused.message.split())
            self._log.info("admission.denied", policy=printable(str(source), POLICY_LIMIT), reason=printable(text, DETAIL_LIMIT))
        return answer

    async def _labels_of(self, namespace: str) -> tuple[Labels, ...] | None:
        """Return the labels of a selected Namespace, which the API server may have known before this process."""
        labels = self.cluster.labels_of(namespace)
        if labels is None and not self.named:
            with trio.move_on_after(NAMESPACE_S):
                while labels is None:
                    await trio.sleep(_LOOK_S)
                    labels = self.cluster.labels_of(namespace)
        return labels

    async def _in_thread(self, function: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
        # Abandoned when cancelled: it only computes, for an API server that no longer waits. The limiter bounds the threads anyway.
        return await self.run_sync(function, abandon_on_cancel=True, limiter=limiter)

    def _failed(self, fault: BaseException) -> None:
        # Only the type: the message may contain a document.
        self._log.error("admission.handler_failed", error=type(fault).__qualname__)

    def _selects(self, config_map: ConfigMap) -> bool:
        return self.config_maps.matches(dict(config_map.labels))


def _text(status: int, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status, (*_TEXT, *headers), f"{text}\n".encode())


_STARTING: Final = _text(503, "the cluster's policies are not loaded yet, or the process is stopping", ("Retry-After", "1"))
_FAILURES: Final = {
    400: "the request is not HTTP/1.1",
    413: f"the body has more than {BODY_BYTES} bytes",
    431: "the request's head is too large",
    500: "the webhook failed; see its log",
    503: "too many reviews at once",
    504: "the review took too long",
}


def _timeout(request: Request) -> float:
    """Return how many seconds the API server waits, which it says in the query."""
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        if name == "timeout":
            try:
                return min(parse_duration(value), LONGEST_S)
            except ValueError:
                break
    return TIMEOUT_S
