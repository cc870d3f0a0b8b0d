"""Bugs to plant, each a few lines of the service changed: what the simulation must be able to find, and a seed that finds it.

A bug changes the text of a module before it is imported; where the text is not there any more, planting fails.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any, Final, cast, final

import attrs


@final
@attrs.frozen
class Planted:
    """``what`` goes wrong, which text of which module is changed for it, and the ``seed`` that finds it."""

    what: str
    module: str
    before: str
    after: str
    seed: int


def _read(text: str) -> Iterator[tuple[str, Planted]]:
    for bug in text.strip().split("\n\n"):
        head, what, *changes = bug.splitlines()
        _, name, seed, module = head.split()
        before, after = ("\n".join(line[2:] for line in changes if line.startswith(sign)) for sign in "-+")
        yield name, Planted(what, module, before, after, int(seed))


# A head has the bug's name, seed and module. The text behind "-" occurs exactly once there, and that behind "+" replaces it, or nothing.
PLANTED: Final = dict(
    _read("""
# reuse-without-quarantine 198 exchanger.net.quarantine
a connection to an issuer is used again at once, whatever may still come over it
- return measured if measured > LEAST_QUARANTINE else LEAST_QUARANTINE
+ return 0.0 * measured

# kept-without-proof 93 exchanger.exchange.prove
tokens that are kept are not verified
-         if rules is None:
+         if rules is None or request.issuer.cache is not None:

# one-good-audience-is-enough 126 exchanger.exchange.oauth.issued_token
a token passes its proof if one of its audiences was requested
- if all(name in audiences for name in named):
+ if any(name in audiences for name in named):

# only-the-response-tells-the-scope 93 exchanger.exchange.oauth.issued_token
a scope in the token that was not requested passes where the response does not show it
-     for claim in SCOPE_CLAIMS:
+     for claim in ():

# assertion-is-sent-again 153 exchanger.model.issuer
assertions are kept and sent again, whatever the profile says
- cache=first.cache if source.reuse else None
+ cache=first.cache

# assertion-of-any-client 139 exchanger.exchange.oauth.issued_token
an assertion for another client of the second issuer is sent to it
-     if client_id != rules.client_id:
+     if False:

# assertion-for-anybody 139 exchanger.model.issuer
an assertion is sent to the second issuer, whatever it is for
- audiences=(source.audience,), opaque=False, assertion=AssertionRules(client_id)
+ opaque=True

# caller-is-not-in-the-key 168 exchanger.exchange.chain
assertions are kept for all callers alike
-     return attrs.evolve(request, issuer=issuer, target=
+     return attrs.evolve(request, subject_token=Secret("anybody"), issuer=issuer, target=

# key-without-scope 15 exchanger.model.entry
requests that differ in their scope alone share an exchange
-     scope: str = ""
+     scope: str = attrs.field(default="", eq=False)

# leader-takes-followers-along 90 exchanger.exchange.coalesce
a request that leaves ends the exchange for all who wait for it
- if not self.tickets and not self.renews and self.pending is not None:
+ if not self.renews and self.pending is not None:

# row-kept-after-reset 13 exchanger.authz.evaluation.evaluator
a request whose caller leaves counts as under way for ever
-         self.evaluator.in_flight -= 1
-         if self.ticket is not None:
+         if self.ticket is not None:

# deadline-without-margin 2084 exchanger.authz.evaluation.evaluator
an exchange may take until the gateway's deadline, so that its answer comes too late
- return deadline - margin
+ return deadline

# kept-past-its-end 176 exchanger.exchange.cache.memory_store
only the wall clock ends a token's life in the cache, and it can be set back
- if steady >= life.until or wall >= life.wall_until or steady >= life.born + max_age:
+ if wall >= life.wall_until:

# one-caller-opens-the-breaker 820 exchanger.exchange.breaker
the calls of one caller are enough to stop those of everybody
- bit = 1 << caller % CALLER_BITS
+ bit = 1 << int(now * 1e6) % CALLER_BITS

# unreadable-closes-nothing 2 exchanger.policy.documents.document
a document that cannot be read has no region that closes
- closed_scopes=(_everything(source, (root.problem("the document"),)),)
+ closed_scopes=()

# what-has-no-room-closes-nothing 136 exchanger.policy.quota
ConfigMaps beyond the limits of their namespace are left out
- MAX_LISTED: Final = 16
+ MAX_LISTED: Final = 0

# size-has-no-limit 136 exchanger.policy.quota
a namespace may have ConfigMaps of any size
- room = limits.kib * _KIB
+ room = 2**40

# invalid-entry-closes-nothing 13 exchanger.policy.documents.entry_reader
an entry that is invalid is left out, and what it was to protect passes
- return tuple(FailClosedScope(source, scope, reason, index, first.line, first.column, problems=problems) for scope in closed)
+ return ()

# withdrawal-opens-what-others-close 2 exchanger.policy.table
a closed region is forgotten when another document that closes the same is withdrawn or mended
- left = [member for member in members if member not in gone] if gone else members
+ left = [] if gone else members

# mended-document-stays-closed 61 exchanger.policy.table
a closed region stays when its document is mended or withdrawn
- left = [member for member in members if member not in gone] if gone else members
+ left = [member for member in members if member not in gone or member[0].yields_to_others]

# denial-is-lost-beside-a-change 25 exchanger.policy.table
what another namespace has at a prefix is forgotten when an entry is added there
- changes[prefix] = _levels(len(prefix), [*left, *more.get(prefix, ())]) or None
+ changes[prefix] = _levels(len(prefix), more.get(prefix) or left) or None

# quota-opens 8 exchanger.policy.namespace
a document over quota closes nothing
- closed_scopes = tuple(_closed_hosts(self.document, exceeded, limits))
+ closed_scopes = ()

# granted-on-any-host 54 exchanger.policy.grants.allowance
an entry counts on hosts that its namespace is not granted, if it is granted its path on others
- covering = sorted({place for one in above for place in self._at.get(one, ())})
+ covering = list(range(len(self.granted)))

# closes-outside-its-grants 8 exchanger.policy.grants.restriction
what is not granted closes paths of others
- yield Route(closed, None if paths.covers(match) else paths)
+ yield Route(closed)

# result-outlives-its-key 5 exchanger.exchange.verify
a token stays verified when its key is removed
-  and kept.version == kept.jwks.version

# deletions-are-lost 15 exchanger.sources.kube.store
a ConfigMap that is deleted stays known
- return (*(() if known is None else (key,)), *self._held.drop(key))
+ return ()

# list-of-another-kind-counts 1610 exchanger.sources.kube.api.decoding
a list of another kind is taken for the policies, of which it has none
- if not kind.is_list(found):
+ if False:

# event-of-another-kind-counts 164 exchanger.sources.kube.api.decoding
an object of another kind that is deleted withdraws the policy of its name
- if not kind.is_object(body):
+ if False:

# nothing-is-held-back 5541 exchanger.sources.publish.machine
a denial that moves is missing while the feed that has its new place is behind
- until > max((at for at, other in reported if other != feed), default=-math.inf)
+ until > -math.inf

# late-config-maps-are-not-waited-for 325 exchanger.sources.kube.catch_up
a denial that moves is missing while ConfigMaps are late and the Namespace that it left is known to be gone
- self._since = min(self._since, self.fell_behind_at)
+ return

# shared-although-single-use 27 exchanger.net.pool
calls over HTTP/2 share a connection although none is to carry a second one
-             if not self.connections.keeps:
-                 break
-         if not self.connections.keeps:
-             link.retire()

# waiter-without-deadline 140 exchanger.exchange.coalesce
whoever waits for an exchange waits for as long as it takes, whatever the own gateway's deadline is
- self.reactor.timers.expect(ticket, deadline)
+ pass

# exchange-without-end 1 exchanger.exchange.coalesce
an exchange takes as long as its issuer does, if nobody who waits for it has a deadline
- exchange = CoalescedExchange(self, request, now + self.seconds, renews)
+ exchange = CoalescedExchange(self, request, NEVER, renews)

# another-endpoint-sees-the-credentials 16 exchanger.exchange.issuers.state
the credentials from before a profile's endpoint changed are tried at the new one
-             if moved:
-                 previous = None

# refusal-of-new-credentials-is-final 1377 exchanger.exchange.oauth.rotation
the previous credentials are not tried, although the issuer does not know the new ones yet
- return attrs.evolve(wanted, credentials=wanted.previous, previous=None) if refused else None
+ return None

# empty-file-withdraws 118 exchanger.sources.directory.folder
the policies in a manifest are withdrawn while it is empty, as it is when a shell is about to write it
- if file.has_objects and not data.strip():
+ if False:

# missing-folder-withdraws 92 exchanger.sources.directory.folder
all policies are withdrawn while the folder is away
- return attrs.evolve(before, problem=f"cannot be listed: {error.strerror}")
+ return Scan(problem=f"cannot be listed: {error.strerror}")

# unreadable-file-withdraws 252 exchanger.sources.directory.folder
the policies in a manifest are withdrawn while it cannot be read
- return File(None, None if before is None else before.manifests, unreadable(error))
+ return File(None, (), unreadable(error))

# stream-overtakes 195 exchanger.net.grpc.dispatcher
a message on a stream is answered before the one ahead of it, whose exchange is under way
- elif type(call.route) is ImmediateStream and call.stream_id not in self._deferred:
+ elif type(call.route) is ImmediateStream:

# grants-give-once 9 exchanger.policy.namespace
what grants have taken away once never comes back
- contents = {source: _Content.known(one) for source, one in self.documents.items()}
+ known = {source: attrs.evolve(one.document, entries=one.entries) for source, one in self.documents.items()}
+         contents = {source: attrs.evolve(_Content.known(self.documents[source]), document=one) for source, one in known.items()}

# unusable-grants-grant-everything 111 exchanger.app.grants_file
a grants file that nobody can read counts as none
- self._log.error("grants.rejected", reason=found.reason, text="the previous version stays active")
+ self._use(NO_GRANTS)

# shared-by-all-users 200 exchanger.exchange.cache.active_issuers
the name of a token in the store is that of its target alone
- digester.digest(subject) for digester in self._shared
+ digester.digest(b"") for digester in self._shared

# stored-in-clear 195 exchanger.exchange.cache.sealed_token
tokens are stored as they are
- cipher.encrypt(nonce, plain, _FORMAT + digest)
+ plain

# born-again-from-the-store 97 exchanger.exchange.cache.token_cache
a token from the store lives as long as a new one, by the steady clock
- age = stored.length - left
+ age = 0.0

# store-is-waited-for 2291 exchanger.exchange.cache.shared_level
a look-up in the store takes as long as the store does
-             with trio.move_on_after(FIND_S):
-                 found = await store.read([self._name
+             with trio.move_on_after(60.0):
+                 found = await store.read([self._name

# replicas-find-nothing 70 exchanger.exchange.cache.shared_level
a replica does not find what another one has stored
- return _opened(keys, digests, found) or EmptyLookup.MISS
+ return EmptyLookup.MISS

# result-outlives-its-time 120 exchanger.exchange.introspect
what an issuer said of a caller's token counts until its profile changes
-             if self.now() < kept.until and self.wall() < kept.expires:
-                 results.move_to_end(place)
+             if self.wall() < kept.expires:
+                 results.move_to_end(place)

# active-is-any-word 179 exchanger.exchange.oauth.introspection
a token passes if its issuer says anything but false
- if members.get("active") is not True:
+ if not members.get("active"):

# second-signal-is-ignored 105 exchanger.app.supervisor
a second SIGTERM does not end the drain
-         self._say_cut("a second signal arrived")
-         scope.cancel()
+         self._say_cut("a second signal arrived")

# log-holds-the-loop 88 exchanger.operations.telemetry.log_writer
the log is written by the task that everything else waits for
- await self._run_sync(self._write, lines, abandon_on_cancel=True, limiter=self._limiter)
+ self._write(lines)

# lost-spans-do-not-count 2346 exchanger.operations.telemetry.tracing
spans for which there is no room are not counted
-             self.dropped += 1
-             return
+             return

# viewer-stays 126 exchanger.operations.console.broadcast
somebody who has left the console stays its subscriber
-             self._subscribers.pop(subscription, None)

# who-leaves-leaves-no-record 139 exchanger.authz.evaluation.evaluator
a request whose caller leaves is neither logged nor counted
- self.finish(_CALLER_LEFT)  # for the record; the answer is not used
+ pass

# former-authorities-are-trusted 36 exchanger.net.tls.certificates
a change of the authorities of clients alone does not count
- b"=" + file for file in files)
+ b"=" + file for file in files[:2])

# certificate-is-read-once 83 exchanger.net.tls.rotation
new connections get the certificate from the start, whatever its files say
-             self._current = found
+             self._current = self._current or found

# half-a-pair-ends-the-service 36 exchanger.net.tls.rotation
a certificate and a key that do not belong together end the service
-             if self._current is None:
-                 raise CertificatesError(found.reason)
+             raise CertificatesError(found.reason)

# secret-is-read-once 196 exchanger.app.secrets
what a watch tells of a Secret is not learned
- if keys is None or self._key in keys:
+ if keys is None:

# polled-secret-is-read-once 98 exchanger.exchange.issuers.secrets
a Secret that may be read but not watched is learned once
-             if found != last:
+             if last is None:

# anothers-key-signs 143 exchanger.exchange.oauth.client_assertion
assertions are signed by the key that was loaded first
-         if key in self._loaded:
-             return self._loaded[key]
+         if self._loaded:
+             return next(iter(self._loaded.values()))

# reads-to-the-end-in-one-turn 9 exchanger.net.reactor
all that is ready is served in one turn, however many requests that are
- WORK_PER_CHECKPOINT: Final = 128
+ WORK_PER_CHECKPOINT: Final = 2**31

# reads-policies-in-one-turn 41 exchanger.sources.publish.runner
policies that arrive together are read in one turn
- documents, costs = await self._in_thread(job.lane.value, job.run, self.cpu)
+ documents, costs = job.run(self.cpu)

# refused-token-stays 163 exchanger.exchange.cache.token_cache
a token that an upstream refuses is counted, and served again
-             of.tally.upstream_refusals += 1
-             self.memory.remove(of.partition, digest)
+             of.tally.upstream_refusals += 1

# refusal-takes-all 133 exchanger.exchange.cache.token_cache
one caller's refusal takes the tokens of all
-             of.tally.upstream_refusals += 1
-             self.memory.remove(of.partition, digest)
+             of.tally.upstream_refusals += 1
+             self.memory.clear()

# told-twice 857 exchanger.exchange.coalesce
a request whose time is up stays among those that its exchange answers
-         self.done(GATEWAY_TIMED_OUT if exchange.pending is None else exchange.pending.late)
-         exchange.lose(self)
+         self.done(GATEWAY_TIMED_OUT if exchange.pending is None else exchange.pending.late)

# gone-history-is-watched-on 134 exchanger.sources.kube.retry
a watch goes on although the server has forgotten its version
- return Retry(failure, ReflectorStep.LIST, resync=True)  # what was missed, or sent, is unknown
+ return Retry(failure, ReflectorStep.PROBE)

# outage-is-final 25 exchanger.sources.kube.reflector
the first failure of the API server is the last attempt for an hour
- await self._pace.sleep(wait, retry.at_least)
+ await trio.sleep(3600.0)

# cache-without-bound 18 exchanger.exchange.cache.memory_store
an issuer's tokens are kept whatever their number
- while len(partition.entries) > partition.max_entries:
+ while False:

# handed-out-without-a-line 93 exchanger.authz.evaluation.evaluator
an exchange that was waited for is answered without a look at the audit log
- if audit is None or type(outcome) is not ExchangedToken:
+ if audit is None or type(outcome) is not None:

# torn-line-counts 2 exchanger.authz.audit.log
the first line of the audit log that did not fit counts as written
- await self._tell_rows(rows[:at], written=True)
+ await self._tell_rows(rows[: at + 1], written=True)

# unwritten-refusals-are-forgotten 24 exchanger.authz.audit.log
refusals that could not be written are not in the audit log
- self._refusals.put_back(refused[len(refused) - refused_lost :])
+ self._refusals.put_back([])

# one-loss-counts-for-all 511 exchanger.authz.audit.log
of the refusals that are left at the end, one counts as lost
- self.lost += self._refusals.unwritten + sum(
+ self.lost += bool(self._refusals.unwritten) + sum(

# lines-left-at-the-end-do-not-count 218 exchanger.operations.telemetry.log_writer
log lines that nobody has read when the service ends are not counted
- self._lost(len(self._lines))
+ pass

# drain-waits-for-nobody 30 exchanger.app.supervisor
requests that are under way when the service drains are broken off
- servers.start_soon(self.server.drain, math.inf)
+ servers.start_soon(self.server.drain, 0.0)

# draining-closes 30 exchanger.app.supervisor
a service that drains refuses every request
- self.board.set_draining()
+ self.board.set_draining(), self.policy.clear()

# listeners-close-at-once 106 exchanger.app.supervisor
a service that drains accepts no connection any more, although gateways do not know yet
- await self._drain_delay.run(self.settings.shutdown_grace / 4)
+ await trio.lowlevel.checkpoint()

# unknown-name-escapes 109 exchanger.net.dial
a name that cannot be resolved ends more than the attempt to connect
- (proxy.host, proxy.port)))
-             except OSError as error:
+ (proxy.host, proxy.port)))
+             except ConnectionError as error:

# denial-quotes-the-token 13 exchanger.authz.decision.check
a failed exchange tells its caller which token was refused
- denied = _refused(entry, outcome)
+ denied = attrs.evolve(_refused(entry, outcome), body=outcome.body + pending.token_request.subject_token.reveal())

# free-permit-wakes-nobody 26 exchanger.net.concurrency
whoever waits for a permit does not get one that becomes free
- return self._admit_next() if self._turns else None
+ return None
""")
)


def plant(name: str) -> None:
    """Let the module of this bug be imported with it."""
    bug, unchanged, loaders = PLANTED[name], SourceFileLoader.get_code, cast("Any", SourceFileLoader)
    assert bug.module not in sys.modules, f"{bug.module} is imported already"

    def changed(loader: SourceFileLoader, module: str) -> CodeType | None:
        if module != bug.module:
            return unchanged(loader, module)
        path = loader.get_filename(module)
        text = loader.get_data(path).decode()  # not from bytecode, which is that of the file
        if text.count(bug.before) != 1:
            raise LookupError(f"{module} has not once what the bug changes: {bug.before!r}")
        code: CodeType = compile(text.replace(bug.before, bug.after), path, "exec")
        return code

    loaders.get_code = changed
