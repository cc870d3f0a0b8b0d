"""``exchanger explain``: how a request is decided, and why: by manifests, by a cluster's policies, or by a running service.

0: it passes, or its token is exchanged. 1: it is refused. 2: the arguments are wrong, or the decision is unknown.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO, cast, final
from urllib.parse import urlencode, urlsplit

import attrs
import orjson
import trio

from exchanger.authz.decision.answer import ASSUMED, kind_of_credentials
from exchanger.authz.decision.withheld import numbered, split_sensitive_headers
from exchanger.commands.check.command import read_manifest_files
from exchanger.commands.display import explanation_text
from exchanger.commands.offline.inputs import CLUSTER_VARIABLES, PolicyInputs, connect_to
from exchanger.commands.policies import STANDARD_INPUT, AssembledPolicy, assembled, policy_of_paths, settings_of
from exchanger.commands.question import MalformedQuestion, Question, read_question
from exchanger.model.errors import ConfigurationError, ExchangerError
from exchanger.net.http.message import Request
from exchanger.net.http.names import is_loopback
from exchanger.net.http.token_file import read_token
from exchanger.net.network import SYSTEM
from exchanger.net.tls.client import client_tls_context
from exchanger.operations.console.explained import ExplainedJson, explained
from exchanger.operations.console.message import encode
from exchanger.operations.console.proxy import ConsoleProxy
from exchanger.policy.documents.document import entry_lines
from exchanger.policy.selection import ConfigMap
from exchanger.util.regular_file import UnusableFile
from exchanger.util.text import printable

PASSES: Final = 0
REFUSED: Final = 1
NO_TELLING: Final = 2

_OK: Final = 200


@final
@attrs.frozen
class ExplainOptions:
    """The parsed arguments. One of ``policy``, ``cluster`` and ``console`` is given; ``raw``: the gateway sends headers as raw bytes."""

    method: str
    url: str
    headers: tuple[str, ...] = attrs.field(default=(), repr=False)
    policy: tuple[str, ...] = ()
    cluster: bool = False
    console: str = ""
    console_token_file: Path | None = None
    kubeconfig: str = ""
    context: str = ""
    issuers: Path | None = None
    grants: Path | None = None
    raw: bool = False
    json: bool = False


def explain(namespace: argparse.Namespace) -> int:
    """Run ``exchanger explain`` with the arguments that ``options`` declares; return the exit status."""
    options = ExplainOptions(
        namespace.method,
        namespace.url,
        tuple(namespace.header),
        tuple(namespace.policy),
        namespace.cluster,
        namespace.console,
        namespace.console_token_file,
        namespace.kubeconfig,
        namespace.context,
        namespace.issuers,
        namespace.grants,
        namespace.raw,
        namespace.json,
    )
    return trio.run(run_explain, options)


async def run_explain(options: ExplainOptions, variables: Mapping[str, str] | None = None, out: TextIO | None = None) -> int:
    """Print the explanation to ``out`` (default: standard output), and return the exit status. Notes and errors go to standard error."""
    environment = os.environ if variables is None else variables
    question = read_question(options.method, options.url, options.headers, raw=options.raw)
    if isinstance(question, MalformedQuestion):
        sys.stderr.write(f"exchanger explain: {question.reason}\n")
        return NO_TELLING
    try:
        text, passes = _told(question, await _shown(question, options, environment), as_json=options.json)
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"exchanger explain: {printable(problem)}\n")
        return NO_TELLING
    except ExchangerError as error:
        sys.stderr.write(f"exchanger explain: {printable(str(error))}\n")
        return NO_TELLING
    (out or sys.stdout).write(text)
    return PASSES if passes else REFUSED


def _told(question: Question, shown: ExplainedJson, *, as_json: bool) -> tuple[str, bool]:
    """Return what to print, and whether the request passes.

    Raises:
        ExchangerError: the console belongs to another program.
    """
    try:
        passes = shown["decision"]["passes"] is True
        return encode(shown).decode() + "\n" if as_json else explanation_text(f"{question.method.upper()} {question.url()}", shown), passes
    except (KeyError, TypeError, AttributeError):
        raise ExchangerError("the console's answer cannot be read; is it another version?") from None


async def _shown(question: Question, options: ExplainOptions, environment: Mapping[str, str]) -> ExplainedJson:
    if options.console:
        if withheld := split_sensitive_headers(question.headers)[1]:
            names = ", ".join(dict.fromkeys(name for name, _ in withheld))
            sys.stderr.write(f"exchanger explain: {printable(names)}: {_NOT_SENT}\n")
        return await ask_console(question, options.console, options.console_token_file)
    inputs = PolicyInputs(options.issuers, options.grants)
    if options.cluster:
        policy = await policy_of_cluster(options, inputs.or_profiles_of(environment), environment)
    else:
        policy = await SYSTEM.run_sync(policy_of_paths, options.policy, inputs, environment, abandon_on_cancel=True)
    for note in policy.notes:
        sys.stderr.write(f"exchanger explain: {printable(note)}\n")
    shown = shown_question(question, policy)
    if options.policy and STANDARD_INPUT not in options.policy:
        await SYSTEM.run_sync(_add_places, shown, options.policy, abandon_on_cancel=True)
    return shown


def _add_places(shown: ExplainedJson, paths: tuple[str, ...]) -> None:
    """Add to the candidates where they are in the files at ``paths``, as ``exchanger check`` would say; blocks while these are read."""
    wanted = {(candidate["namespace"], candidate["name"]) for candidate in shown["candidates"]}
    files = [*read_manifest_files(paths)]
    documents = {
        (item.value.namespace, item.value.name): (file, item.document)
        for file in files
        for item in file.objects
        if isinstance(item.value, ConfigMap) and (item.value.namespace, item.value.name) in wanted
    }
    bare = {file.name for file in files if file.bare}
    for candidate in shown["candidates"]:
        file, places = documents.get((candidate["namespace"], candidate["name"]), (None, None))
        if not candidate["namespace"] and candidate["name"] in bare and candidate["line"] is not None:
            candidate["at"] = f"{printable(candidate['name'])}:{candidate['line']}"
        if file is not None and places is not None and candidate["line"] is not None:
            candidate["at"] = f"{printable(file.name)}:{file.text.place(places.offset(candidate['line'], 1)).line}"


def shown_question(question: Question, policy: AssembledPolicy) -> ExplainedJson:
    """Return how ``policy`` decides the request, and why, as the console's ``/api/explain`` does."""
    found = explained(question.request(), policy.newest, policy.rules, is_missing=policy.snapshot is None)
    texts = {source: document.text for source, document in found.documents().items()}
    return found.shown({source: entry_lines(text) for source, text in texts.items() if text is not None}, 0)


async def policy_of_cluster(options: ExplainOptions, inputs: PolicyInputs, environment: Mapping[str, str]) -> AssembledPolicy:
    """Return the policy of a cluster, by the service's own variables and the files that they name unless ``inputs`` name others.

    Raises:
        ConfigurationError: a variable or a file cannot be used.
        ClusterError: the cluster cannot be read.
    """
    from exchanger.sources.kube.api.access import ClusterError
    from exchanger.sources.kube.api.resource import PolicyListWatches
    from exchanger.sources.kube.listing import Unanswered, list_policies
    from exchanger.sources.kube.settings import KubernetesSettings

    settings = await SYSTEM.run_sync(settings_of, environment, inputs, *CLUSTER_VARIABLES, abandon_on_cancel=True)
    if not isinstance(settings.policy, KubernetesSettings):
        raise TypeError("the settings of another source")
    async with connect_to(options.kubeconfig, options.context or settings.kube_context, environment) as connection:
        found = await list_policies(PolicyListWatches(connection), settings.policy, settings.grants.limits, with_labels=True)
    if isinstance(found, Unanswered):
        raise ClusterError(found.reason)
    if found.unreadable:
        rights = "; ".join(f"{one.namespace}: {one.missing_right}" for one in found.unreadable)
        raise ClusterError(f"a starting service has no active policy, since a permission is missing in {rights}")
    return await SYSTEM.run_sync(assembled, found.documents, settings, inputs, abandon_on_cancel=True)


async def ask_console(question: Question, url: str, token_file: Path | None) -> ExplainedJson:
    """Return a running service's explanation from its console. No value of a header that may hold credentials leaves this machine.

    Raises:
        ConfigurationError: the address or the token file cannot be used
        ExchangerError: the console does not answer the question
    """
    proxy = _proxy(url, token_file)
    answer = await proxy.forward(Request("GET", console_target(question), ()))
    found = _object(answer.body)
    if answer.status != _OK or "decision" not in found:
        said = found.get("error") if isinstance(found.get("error"), str) else "it does not answer the question; is it an older version?"
        raise ExchangerError(f"the console at {proxy.url} answered {answer.status}: {said}")
    return cast("ExplainedJson", found)  # another version's may differ: see ``_told``


def console_target(question: Question) -> str:
    """Return the path and query that ask a console ``question``, without credentials."""
    request = question.request()
    shown, withheld = split_sensitive_headers(question.headers)
    fields = [
        ("method", question.method),
        ("host", request.host),
        ("path", request.path),
        ("raw", "true" if question.raw else "false"),
        ("credentials", kind_of_credentials(request.authorization)),
        ("assumed", "true" if ("authorization", ASSUMED) in question.headers else "false"),
        *(("header", f"{name}: {value}") for name, value in shown),
        *(("token", f"{name}: {held}") for name, held in numbered(request.authorization, withheld)),
    ]
    return f"/api/explain?{urlencode(fields, errors='surrogateescape')}"


def _object(body: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _proxy(url: str, token_file: Path | None) -> ConsoleProxy:
    try:
        parts = urlsplit(url)
        secured, host = parts.scheme == "https", parts.hostname or ""
        port = parts.port or (443 if secured else 80)
    except ValueError:
        raise ConfigurationError((_NO_CONSOLE,)) from None
    if (
        parts.scheme not in {"http", "https"}
        or not host
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ConfigurationError((_NO_CONSOLE,))
    token = None if token_file is None else read_token(token_file)
    if isinstance(token, UnusableFile):
        raise ConfigurationError((f"{token_file} {token.reason}",))
    if token is not None and not secured and not is_loopback(host):
        raise ConfigurationError(("the console's token is sent only over https, or to this machine",))
    return ConsoleProxy(port, host, client_tls_context() if secured else None, token)


_NOT_SENT: Final = "the value may be a token, so it is not sent; an entry that matches by it does not match here"
_NO_CONSOLE: Final = "--console must be a URL such as http://127.0.0.1:3003"
