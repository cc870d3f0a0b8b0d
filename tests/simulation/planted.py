"""Bugs to plant, each a few lines of the service changed: what the simulation must be able to find.

A bug changes the text of a module before it is imported; where the text is not there any more, planting fails.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Final, final

import attrs


@final
@attrs.frozen
class Planted:
    """``what`` goes wrong, and which text of which module is changed for it."""

    what: str
    module: str
    before: str
    after: str


PLANTED: Final = {
    "reuse-without-quarantine": Planted(
        "a connection to an issuer is used again at once, whatever may still come over it",
        "exchanger.net.quarantine",
        "return measured if measured > LEAST_QUARANTINE else LEAST_QUARANTINE",
        "return 0.0 * measured",
    ),
    "kept-without-proof": Planted(
        "tokens that are kept are not judged",
        "exchanger.exchange.prove",
        "        if rules is None:",
        "        if rules is None or request.issuer.cache is not None:",
    ),
    "one-good-audience-is-enough": Planted(
        "a token passes its proof if one of its audiences was requested",
        "exchanger.oauth.issued_token",
        "if all(name in audiences for name in named):",
        "if any(name in audiences for name in named):",
    ),
    "only-the-response-tells-the-scope": Planted(
        "a scope in the token that was not requested passes where the response does not show it",
        "exchanger.oauth.issued_token",
        "    for claim in SCOPE_CLAIMS:\n",
        "    for claim in ():\n",
    ),
    "assertion-is-sent-again": Planted(
        "assertions are kept and sent again, whatever the profile says",
        "exchanger.values.issuer",
        "cache=first.cache if source.reuse else None",
        "cache=first.cache",
    ),
    "assertion-of-any-client": Planted(
        "an assertion for another client of the second issuer is sent to it",
        "exchanger.oauth.issued_token",
        "    if client_id != rules.client_id:\n",
        "    if False:\n",
    ),
    "assertion-for-anybody": Planted(
        "an assertion is sent to the second issuer, whatever it is for",
        "exchanger.values.issuer",
        "audiences=(source.audience,), opaque=False, assertion=AssertionRules(client_id)",
        "opaque=True",
    ),
    "caller-is-not-in-the-key": Planted(
        "assertions are kept for all callers alike",
        "exchanger.exchange.chain",
        "    return attrs.evolve(request, issuer=issuer, target=",
        '    return attrs.evolve(request, subject_token=Secret("anybody"), issuer=issuer, target=',
    ),
    "key-without-scope": Planted(
        "requests that differ in their scope alone share an exchange",
        "exchanger.values.entry",
        '    scope: str = ""\n',
        '    scope: str = attrs.field(default="", eq=False)\n',
    ),
    "leader-takes-followers-along": Planted(
        "a request that leaves ends the exchange for all who wait for it",
        "exchanger.exchange.coalesce",
        "if not self.tickets and not self.renews and self.passage is not None:",
        "if not self.renews and self.passage is not None:",
    ),
    "row-kept-after-reset": Planted(
        "a request whose caller leaves counts as under way for ever",
        "exchanger.evaluation.evaluator",
        """        self.evaluator.in_flight -= 1
        if self.ticket is not None:""",
        """        if self.ticket is not None:""",
    ),
    "deadline-without-margin": Planted(
        "an exchange may take until the gateway's deadline, so that its answer comes too late",
        "exchanger.evaluation.evaluator",
        "return deadline - margin",
        "return deadline",
    ),
    "kept-past-its-end": Planted(
        "only the wall clock ends a token's life in the cache, and it can be set back",
        "exchanger.exchange.cache.memory_store",
        "if steady >= life.until or wall >= life.wall_until or steady >= life.born + max_age:",
        "if wall >= life.wall_until:",
    ),
    "one-caller-opens-the-breaker": Planted(
        "the calls of one caller are enough to stop those of everybody",
        "exchanger.exchange.breaker",
        "bit = 1 << caller % CALLER_BITS",
        "bit = 1 << int(now * 1e6) % CALLER_BITS",
    ),
    "unreadable-closes-nothing": Planted(
        "a document that cannot be read has no region that closes",
        "exchanger.policy.documents.document",
        'regions=(_everything(source, (root.problem("the document"),)),)',
        "regions=()",
    ),
    "what-has-no-room-closes-nothing": Planted(
        "ConfigMaps beyond the limits of their namespace are left out",
        "exchanger.policy.quota",
        "MAX_LISTED: Final = 16",
        "MAX_LISTED: Final = 0",
    ),
    "size-has-no-limit": Planted(
        "a namespace may have ConfigMaps of any size",
        "exchanger.policy.quota",
        "room = limits.kib * _KIB",
        "room = 2**40",
    ),
    "invalid-entry-closes-nothing": Planted(
        "an entry that is invalid is left out, and what it was to protect passes",
        "exchanger.policy.documents.entry_reader",
        "return tuple(FailClosedRegion(source, scope, reason, index, first.line, first.column, problems=problems) for scope in closed)",
        "return ()",
    ),
    "withdrawal-opens-what-others-close": Planted(
        "a closed region is forgotten when another document that closes the same is withdrawn or mended",
        "exchanger.policy.table",
        "left = [member for member in members if member not in gone] if gone else members",
        "left = [] if gone else members",
    ),
    "mended-document-stays-closed": Planted(
        "a closed region stays when its document is mended or withdrawn",
        "exchanger.policy.table",
        "left = [member for member in members if member not in gone] if gone else members",
        "left = [member for member in members if member not in gone or member[0].yields_to_others]",
    ),
    "denial-is-lost-beside-a-change": Planted(
        "what another namespace has at a prefix is forgotten when an entry is added there",
        "exchanger.policy.table",
        "changes[prefix] = _levels(len(prefix), [*left, *more.get(prefix, ())]) or None",
        "changes[prefix] = _levels(len(prefix), more.get(prefix) or left) or None",
    ),
    "quota-opens": Planted(
        "a document over quota closes nothing",
        "exchanger.policy.namespace",
        "regions = tuple(_closed_hosts(self.document, exceeded, limits))",
        "regions = ()",
    ),
    "granted-on-any-host": Planted(
        "an entry counts on hosts that its namespace is not granted, if it is granted its path on others",
        "exchanger.policy.grants.allowance",
        "covering = sorted({place for one in above for place in self._at.get(one, ())})",
        "covering = list(range(len(self.granted)))",
    ),
    "closes-outside-its-grants": Planted(
        "what is not granted closes paths of others",
        "exchanger.policy.grants.restriction",
        "yield Route(closed, None if paths.covers(match) else paths)",
        "yield Route(closed)",
    ),
    "verdict-outlives-its-key": Planted(
        "a token stays verified when its key is removed",
        "exchanger.exchange.verify",
        " and kept.version == kept.jwks.version",
        "",
    ),
    "deletions-are-lost": Planted(
        "a ConfigMap that is deleted stays known",
        "exchanger.kube.store",
        "return (*(() if known is None else (key,)), *self._held.drop(key))",
        "return ()",
    ),
    "list-of-another-kind-counts": Planted(
        "a list of another kind is taken for the policies, of which it has none",
        "exchanger.kube.api.decoding",
        "if not kind.is_list(found):",
        "if False:",
    ),
    "event-of-another-kind-counts": Planted(
        "an object of another kind that is deleted withdraws the policy of its name",
        "exchanger.kube.api.decoding",
        "if not kind.is_object(body):",
        "if False:",
    ),
    "nothing-is-held-back": Planted(
        "a denial that moves is missing while the feed that has its new place is behind",
        "exchanger.publish.machine",
        "until > max((at for at, other in reported if other != feed), default=-math.inf)",
        "until > -math.inf",
    ),
    "late-config-maps-are-not-waited-for": Planted(
        "a denial that moves is missing while ConfigMaps are late and the Namespace that it left is known to be gone",
        "exchanger.kube.catch_up",
        "self._since = min(self._since, self.fell_behind_at)",
        "return",
    ),
    "shared-although-single-use": Planted(
        "calls over HTTP/2 share a connection although none is to carry a second one",
        "exchanger.net.pool",
        """            if not self.connections.keeps:
                break
        if not self.connections.keeps:
            link.retire()
""",
        "",
    ),
    "waiter-without-deadline": Planted(
        "whoever waits for an exchange waits for as long as it takes, whatever the own gateway's deadline is",
        "exchanger.exchange.coalesce",
        "self.reactor.timers.expect(ticket, deadline)",
        "pass",
    ),
    "exchange-without-end": Planted(
        "an exchange takes as long as its issuer does, if nobody who waits for it has a deadline",
        "exchanger.exchange.coalesce",
        "exchange = CoalescedExchange(self, request, now + self.seconds, renews)",
        "exchange = CoalescedExchange(self, request, NEVER, renews)",
    ),
    "another-endpoint-sees-the-credentials": Planted(
        "the credentials from before a profile's endpoint changed are tried at the new one",
        "exchanger.issuers.state",
        """            if moved:
                previous = None""",
        "",
    ),
    "refusal-of-new-credentials-is-final": Planted(
        "the previous credentials are not tried, although the issuer does not know the new ones yet",
        "exchanger.oauth.rotation",
        "return attrs.evolve(wanted, credentials=wanted.previous, previous=None) if refused else None",
        "return None",
    ),
    "empty-file-withdraws": Planted(
        "the policies in a manifest are withdrawn while it is empty, as it is when a shell is about to write it",
        "exchanger.directory.folder",
        "if file.has_objects and not data.strip():",
        "if False:",
    ),
    "missing-folder-withdraws": Planted(
        "all policies are withdrawn while the folder is away",
        "exchanger.directory.folder",
        'return attrs.evolve(before, problem=f"cannot be listed: {error.strerror}")',
        'return Scan(problem=f"cannot be listed: {error.strerror}")',
    ),
    "unreadable-file-withdraws": Planted(
        "the policies in a manifest are withdrawn while it cannot be read",
        "exchanger.directory.folder",
        "return File(None, None if before is None else before.manifests, unreadable(error))",
        "return File(None, (), unreadable(error))",
    ),
    "stream-overtakes": Planted(
        "a message on a stream is answered before the one ahead of it, whose exchange is under way",
        "exchanger.grpc.dispatcher",
        "elif type(call.route) is ImmediateStream and call.stream_id not in self._deferred:",
        "elif type(call.route) is ImmediateStream:",
    ),
    "grants-give-once": Planted(
        "what grants have taken away once never comes back",
        "exchanger.policy.namespace",
        "contents = {source: _Content.known(one) for source, one in self.documents.items()}",
        "known = {source: attrs.evolve(one.document, entries=one.entries) for source, one in self.documents.items()}\n"
        "        contents = {source: attrs.evolve(_Content.known(self.documents[source]), document=one) for source, one in known.items()}",
    ),
    "unusable-grants-grant-everything": Planted(
        "a grants file that nobody can read counts as none",
        "exchanger.app.grants_file",
        'self._log.error("grants.rejected", reason=found.reason, text="the previous version stays in force")',
        "self._use(NO_GRANTS)",
    ),
    "shared-by-all-users": Planted(
        "the name of a token in the store is that of its target alone",
        "exchanger.exchange.cache.issuers_in_force",
        "digester.digest(subject) for digester in self._shared",
        'digester.digest(b"") for digester in self._shared',
    ),
    "stored-in-clear": Planted(
        "tokens are stored as they are",
        "exchanger.exchange.cache.sealed_token",
        "cipher.encrypt(nonce, plain, _FORMAT + digest)",
        "plain",
    ),
    "born-again-from-the-store": Planted(
        "a token from the store lives as long as a new one, by the steady clock",
        "exchanger.exchange.cache.token_cache",
        "age = stored.length - left",
        "age = 0.0",
    ),
    "store-is-waited-for": Planted(
        "a look-up in the store takes as long as the store does",
        "exchanger.exchange.cache.shared_level",
        """            with trio.move_on_after(FIND_S):
                found = await store.read([self._name""",
        """            with trio.move_on_after(60.0):
                found = await store.read([self._name""",
    ),
    "replicas-find-nothing": Planted(
        "a replica does not find what another one has stored",
        "exchanger.exchange.cache.shared_level",
        "return _opened(keys, digests, found) or EmptyLookup.MISS",
        "return EmptyLookup.MISS",
    ),
    "verdict-outlives-its-time": Planted(
        "what an issuer said of a caller's token counts until its profile changes",
        "exchanger.exchange.introspect",
        """            if self.now() < kept.until and self.wall() < kept.expires:
                verdicts.move_to_end(place)""",
        """            if self.wall() < kept.expires:
                verdicts.move_to_end(place)""",
    ),
    "active-is-any-word": Planted(
        "a token passes if its issuer says anything but false",
        "exchanger.oauth.introspection",
        'if members.get("active") is not True:',
        'if not members.get("active"):',
    ),
    "second-signal-is-ignored": Planted(
        "a second SIGTERM does not end the drain",
        "exchanger.app.supervisor",
        """        self._say_cut("a second signal arrived")
        scope.cancel()
""",
        """        self._say_cut("a second signal arrived")
""",
    ),
    "log-holds-the-loop": Planted(
        "the log is written by the task that everything else waits for",
        "exchanger.telemetry.log_writer",
        "await self._run_sync(self._write, lines, abandon_on_cancel=True, limiter=self._limiter)",
        "self._write(lines)",
    ),
    "lost-spans-do-not-count": Planted(
        "spans for which there is no room are not counted",
        "exchanger.telemetry.tracing",
        """            self.dropped += 1
            return""",
        """            return""",
    ),
    "viewer-stays": Planted(
        "somebody who has left the console stays its subscriber",
        "exchanger.console.broadcast",
        "            self._subscribers.pop(subscription, None)\n",
        "",
    ),
    "who-leaves-leaves-no-record": Planted(
        "a request whose caller leaves is neither logged nor counted",
        "exchanger.evaluation.evaluator",
        "self.finish(_CALLER_LEFT)  # for the record; the answer is not used",
        "pass",
    ),
    "former-authorities-are-trusted": Planted(
        "a change of the authorities of clients alone does not count",
        "exchanger.net.tls.certificates",
        'b"=" + file for file in files)',
        'b"=" + file for file in files[:2])',
    ),
    "certificate-is-read-once": Planted(
        "new connections get the certificate from the start, whatever its files say",
        "exchanger.net.tls.rotation",
        "            self._current = found\n",
        "            self._current = self._current or found\n",
    ),
    "half-a-pair-ends-the-service": Planted(
        "a certificate and a key that do not belong together end the service",
        "exchanger.net.tls.rotation",
        """            if self._current is None:
                raise CertificatesError(found.reason)""",
        """            raise CertificatesError(found.reason)""",
    ),
    "secret-is-read-once": Planted(
        "what a watch tells of a Secret is not learned",
        "exchanger.app.secrets",
        "if keys is None or self._key in keys:",
        "if keys is None:",
    ),
    "polled-secret-is-read-once": Planted(
        "a Secret that may be read but not watched is learned once",
        "exchanger.issuers.secrets",
        "            if found != last:",
        "            if last is None:",
    ),
    "anothers-key-signs": Planted(
        "assertions are signed by the key that was loaded first",
        "exchanger.oauth.client_assertion",
        """        if key in self._loaded:
            return self._loaded[key]""",
        """        if self._loaded:
            return next(iter(self._loaded.values()))""",
    ),
    "reads-to-the-end-in-one-turn": Planted(
        "all that is ready is served in one turn, however many requests that are",
        "exchanger.net.reactor",
        "WORK_PER_CHECKPOINT: Final = 128",
        "WORK_PER_CHECKPOINT: Final = 2**31",
    ),
    "reads-policies-in-one-turn": Planted(
        "policies that arrive together are read in one turn",
        "exchanger.publish.runner",
        "documents, costs = await self._in_thread(job.lane.value, job.run, self.cpu)",
        "documents, costs = job.run(self.cpu)",
    ),
    "refused-token-stays": Planted(
        "a token that an upstream refuses is counted, and served again",
        "exchanger.exchange.cache.token_cache",
        """            of.tally.upstream_refusals += 1
            self.memory.remove(of.partition, digest)""",
        """            of.tally.upstream_refusals += 1""",
    ),
    "refusal-takes-all": Planted(
        "one caller's refusal takes the tokens of all",
        "exchanger.exchange.cache.token_cache",
        """            of.tally.upstream_refusals += 1
            self.memory.remove(of.partition, digest)""",
        """            of.tally.upstream_refusals += 1
            self.memory.clear()""",
    ),
    "told-twice": Planted(
        "a request whose time is up stays among those that its exchange answers",
        "exchanger.exchange.coalesce",
        """        self.done(GATEWAY_TIMED_OUT if exchange.passage is None else exchange.passage.late)
        exchange.lose(self)""",
        """        self.done(GATEWAY_TIMED_OUT if exchange.passage is None else exchange.passage.late)""",
    ),
    "gone-history-is-watched-on": Planted(
        "a watch goes on although the server has forgotten its version",
        "exchanger.kube.retry",
        "return Retry(failure, ReflectorStep.LIST, resync=True)  # what was missed, or sent, is unknown",
        "return Retry(failure, ReflectorStep.PROBE)",
    ),
    "outage-is-final": Planted(
        "the first failure of the API server is the last attempt for an hour",
        "exchanger.kube.reflector",
        "await self._pace.sleep(wait, retry.at_least)",
        "await trio.sleep(3600.0)",
    ),
    "cache-without-bound": Planted(
        "an issuer's tokens are kept whatever their number",
        "exchanger.exchange.cache.memory_store",
        "while len(partition.entries) > partition.max_entries:",
        "while False:",
    ),
    "handed-out-without-a-line": Planted(
        "an exchange that was waited for is answered without a look at the audit log",
        "exchanger.evaluation.evaluator",
        "if audit is None or type(outcome) is not ExchangedToken:",
        "if audit is None or type(outcome) is not None:",
    ),
    "torn-line-counts": Planted(
        "the first line of the audit log that did not fit counts as written",
        "exchanger.audit.log",
        "await self._tell_rows(rows[:at], written=True)",
        "await self._tell_rows(rows[: at + 1], written=True)",
    ),
    "unwritten-refusals-are-forgotten": Planted(
        "refusals that could not be written are not in the audit log",
        "exchanger.audit.log",
        "self._refusals.put_back(refused[len(refused) - refused_lost :])",
        "self._refusals.put_back([])",
    ),
    "one-loss-counts-for-all": Planted(
        "of the refusals that are left at the end, one counts as lost",
        "exchanger.audit.log",
        "self.lost += self._refusals.unwritten + sum(",
        "self.lost += bool(self._refusals.unwritten) + sum(",
    ),
    "lines-left-at-the-end-do-not-count": Planted(
        "log lines that nobody has read when the service ends are not counted",
        "exchanger.telemetry.log_writer",
        "self._lost(len(self._lines))",
        "pass",
    ),
    "drain-waits-for-nobody": Planted(
        "requests that are under way when the service drains are broken off",
        "exchanger.app.supervisor",
        "servers.start_soon(self.server.drain, math.inf)",
        "servers.start_soon(self.server.drain, 0.0)",
    ),
    "draining-closes": Planted(
        "a service that drains refuses every request",
        "exchanger.app.supervisor",
        "self.board.set_draining()",
        "self.board.set_draining(), self.policy.withdraw()",
    ),
    "listeners-close-at-once": Planted(
        "a service that drains accepts no connection any more, although gateways do not know yet",
        "exchanger.app.supervisor",
        "await self._lame_duck.run(self.settings.shutdown_grace / 4)",
        "await trio.lowlevel.checkpoint()",
    ),
    "unknown-name-escapes": Planted(
        "a name that cannot be resolved ends more than the attempt to connect",
        "exchanger.net.dial",
        """(proxy.host, proxy.port)))
            except OSError as error:""",
        """(proxy.host, proxy.port)))
            except ConnectionError as error:""",
    ),
    "denial-quotes-the-token": Planted(
        "a failed exchange tells its caller which token was refused",
        "exchanger.decision.check",
        "denied = _refused(entry, outcome)",
        "denied = attrs.evolve(_refused(entry, outcome), body=outcome.body + pending.token_request.subject_token.reveal())",
    ),
    "free-permit-wakes-nobody": Planted(
        "whoever waits for a permit does not get one that becomes free",
        "exchanger.net.concurrency",
        "return self._admit_next() if self._turns else None",
        "return None",
    ),
}


@final
class _Loader(importlib.machinery.SourceFileLoader):
    bug: Planted

    def get_code(self, fullname: str) -> CodeType:  # not from bytecode, which is that of the file
        path = self.get_filename(fullname)
        text = self.get_data(path).decode()
        if text.count(self.bug.before) != 1:
            raise LookupError(f"{fullname} has not once what the bug changes: {self.bug.before!r}")
        code: CodeType = compile(text.replace(self.bug.before, self.bug.after), path, "exec")
        return code


@final
@attrs.frozen
class _Finder(importlib.abc.MetaPathFinder):
    bug: Planted

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self.bug.module:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        assert found is not None
        assert found.origin is not None
        loader = _Loader(fullname, found.origin)
        loader.bug = self.bug
        return importlib.util.spec_from_file_location(fullname, found.origin, loader=loader)


def plant(name: str) -> None:
    """Let the module of this bug be imported with it."""
    bug = PLANTED[name]
    assert bug.module not in sys.modules, f"{bug.module} is imported already"
    sys.meta_path.insert(0, _Finder(bug))
