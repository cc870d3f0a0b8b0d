"""The policy of manifests that are not active, as a service that starts with them would have it.

Read by the readers, selected by the selectors and combined by the functions of the service, under its environment variables. There are two
differences, since manifests of a pull request are seldom complete: a Namespace that no manifest describes counts as selected, and
without a file of issuer profiles every issuer is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.app.settings import Settings
from exchanger.authz.decision.answer import ExplainedDecision, answer
from exchanger.authz.decision.check import DecisionRules
from exchanger.commands.offline.inputs import PolicyInputs, names_of
from exchanger.commands.offline.rules import PolicyRules, undescribed
from exchanger.commands.terminal import read_input
from exchanger.exchange.issuers.profile_model import IssuerProfile, Rejected, plan_profiles
from exchanger.exchange.issuers.resolve import completed
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.value_sources import references
from exchanger.formats.yaml.reader import UnreadableYaml, read_stream
from exchanger.model.codes.manifests import BARE_POLICY
from exchanger.model.codes.problem import hinted
from exchanger.model.entry import UNKNOWN_NAMESPACE, ExchangeEntry, Source
from exchanger.model.errors import ConfigurationError
from exchanger.model.issuer import AuthMethod, Credentials, Issuer
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.selection import AnyIssuer, ConfigMap, DocumentText, Namespace, PolicyObject, Text, UnknownText
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.folder import SUFFIXES, CrowdedError, manifest_names
from exchanger.sources.directory.manifest import LIMITS, MAX_FILE_BYTES, PassedOver, UnreadableFile, objects_of, read_manifests
from exchanger.util.regular_file import open_regular, unreadable
from exchanger.util.text import printable

STANDARD_INPUT: Final = "-"
# The variables of the service that shape a decision, besides those that select policy. Those of the cluster, of files and of listeners
# are not needed here.
VARIABLES: Final = (
    *("POLICY_REQUIRED", "POLICY_UNREADABLE_REACH"),
    *("TOKEN_EXCHANGE_ALLOW_UNAUTHENTICATED_OPTIONS", "TOKEN_EXCHANGE_BEARER_REALM", "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED"),
    *("TOKEN_EXCHANGE_GRANT_TYPE", "TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE"),
)
_NOBODY: Final = Credentials("", Secret(""))
# Characters of a file's or a namespace's name in a note.
_NAME_LIMIT: Final = 317
# Notes that are shown; more are one mistake made many times.
_MAX_NOTES: Final = 20


@final
@attrs.frozen
class Manifests:
    """The objects in some files; ``notes`` are for the user who chose the files.

    ``others`` are the files that have no object and count as a document: a policy without its ConfigMap, and what cannot be read.
    """

    objects: tuple[PolicyObject, ...] = ()
    others: Mapping[Source, DocumentText] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()


@final
@attrs.frozen
class AssembledPolicy:
    """A policy with the operator's rules. ``newest`` is what exists, ``snapshot`` what decides: ``None`` while a required one is missing.

    ``profiles`` are the issuer profiles as written, ``None`` if every issuer counts as known. ``notes`` are for the user who chose the
    files.
    """

    snapshot: PolicySnapshot | None
    newest: PolicySnapshot
    rules: DecisionRules
    profiles: Mapping[str, IssuerProfile] | None = attrs.field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def answer(self, request: HttpRequest) -> ExplainedDecision:
        """Return the service's answer."""
        return answer(request, self.snapshot, self.rules)


def settings_of(variables: Mapping[str, str], inputs: PolicyInputs, *more: str) -> Settings:
    """Return the service's settings from those of ``variables`` that matter here, and from ``more`` of them.

    Raises:
        ConfigurationError: one of them is invalid, or the grants file cannot be used.
    """
    return inputs.settings({**variables, "POLICY_SOURCE": "kubernetes"}, ("POLICY_SOURCE", *VARIABLES, *more))


def policy_of_paths(paths: Sequence[str], inputs: PolicyInputs, variables: Mapping[str, str]) -> AssembledPolicy:
    """Return the policy of the manifests at ``paths``; blocks while they are read.

    Raises:
        ConfigurationError: a path is missing, or a file of issuers or grants cannot be used
    """
    settings = settings_of(variables, inputs)
    manifests, rules = read_paths(paths), PolicyRules.of(settings, AnyIssuer())
    documents = rules.select(manifests.objects)
    notes = (*manifests.notes, *islice(_left_out(manifests.objects, documents, rules), _MAX_NOTES))
    return assembled({**documents, **manifests.others}, settings, inputs, notes, undescribed(manifests.objects))


def assembled(
    documents: Mapping[Source, DocumentText],
    settings: Settings,
    inputs: PolicyInputs,
    notes: tuple[str, ...] = (),
    unlabelled: Iterable[str] = (),
) -> AssembledPolicy:
    """Return the policy that consists of ``documents``, under ``settings``; blocks while files are read.

    ``unlabelled`` are Namespaces whose labels are not known.

    Raises:
        ConfigurationError: the file of issuers cannot be used.
    """
    profiles = inputs.profiles()
    known = None if profiles is None else _issuers(profiles)
    rules = PolicyRules.of(settings, names_of(profiles))
    made = rules.version(documents).snapshot
    current = CurrentPolicy(required=settings.policy_required, reach=rules.reach)
    current.publish(made)
    return AssembledPolicy(
        current.snapshot,
        made,
        attrs.evolve(settings.decision, issuers=_unknown_issuers(made) if known is None else known),
        None if profiles is None else {profile.name: profile for profile in profiles},
        (
            *notes,
            *(_unlabelled(unlabelled) if any(grant.needs_labels for grant in rules.grants.grants) else ()),
            *(_refused(made) if rules.grants.enforced else ()),
        ),
    )


def _unlabelled(namespaces: Iterable[str]) -> Iterator[str]:
    for name in islice(namespaces, _MAX_NOTES):
        yield f"Namespace {printable(name, _NAME_LIMIT)} is not among the manifests: grants by label do not apply to it"


def _refused(snapshot: PolicySnapshot) -> Iterator[str]:
    """Yield what the grants refuse: it looks like policy and decides nothing."""
    documents = sorted(snapshot.documents(), key=lambda document: document.source)
    refused = (refusal for document in documents for refusal in document.refused)
    for refusal in islice(refused, _MAX_NOTES):
        yield f"{printable(str(refusal.source), _NAME_LIMIT)}: {refusal.coded}, and has no effect"


def read_paths(paths: Sequence[str]) -> Manifests:
    """Return the objects in files, in folders, and in standard input for ``-``; blocks while they are read.

    Raises:
        ConfigurationError: a path is missing, a folder cannot be listed, or standard input is named twice
    """
    read_once(*paths)
    found = [(path, _read_path(path)) for path in paths]
    problems = tuple(f"{printable(path, _NAME_LIMIT)} {manifests}" for path, manifests in found if isinstance(manifests, str))
    if problems:
        raise ConfigurationError(problems)
    return _together(manifests for _, manifests in found if isinstance(manifests, Manifests))


def _together(several: Iterable[Manifests]) -> Manifests:
    found = tuple(several)
    return Manifests(
        tuple(item for one in found for item in one.objects),
        {source: text for one in found for source, text in one.others.items()},
        tuple(islice((note for one in found for note in one.notes), _MAX_NOTES)),
    )


_ONCE: Final = "standard input (-) can be read once"


def read_once(*paths: str) -> None:
    """Raise an error if standard input is among ``paths`` more than once.

    Raises:
        ConfigurationError: it is.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise ConfigurationError((_ONCE,))


def _read_path(path: str) -> Manifests | str:
    """Return the objects at ``path``, or why there are none."""
    try:
        if path == STANDARD_INPUT:
            return _of_bytes("standard input", read_input(MAX_FILE_BYTES + 1))
        return _read_folder(path) if Path(path).is_dir() else _read_file(path)
    except (OSError, ValueError) as error:  # a path with a NUL
        return unreadable(error)


def _read_folder(folder: str) -> Manifests | str:
    """Return the objects in the files below ``folder``, or why it cannot be listed."""
    try:
        names = sorted(manifest_names(Path(folder), []))
    except OSError as error:
        return f"cannot be listed: {error.strerror}"
    except CrowdedError as crowded:
        return str(crowded)
    nothing = Manifests(notes=(f"{printable(folder, _NAME_LIMIT)} has no file that ends in {', '.join(SUFFIXES)}",))
    return _together(_in_folder(str(Path(folder) / name)) for name in names) if names else nothing


def _in_folder(path: str) -> Manifests:
    """Return the objects in one file of a folder. If it cannot be read, the others count; a policy in it needs its ConfigMap."""
    try:
        return _read_file(path, may_be_bare=False)
    except OSError as error:
        return _unknown(path, unreadable(error))


def _read_file(path: str, *, may_be_bare: bool = True) -> Manifests:
    with open_regular(Path(path)) as file:
        return _of_bytes(path, file.read(MAX_FILE_BYTES + 1), may_be_bare=may_be_bare)


def _of_bytes(name: str, data: bytes, *, may_be_bare: bool = True) -> Manifests:
    is_json = name.endswith(".json")
    found = read_manifests(data, is_json=is_json)
    if isinstance(found, UnreadableFile):
        return _unknown(name, found.reason if is_json else _hinted(found.reason, data))
    if may_be_bare and len(found) == 1 and isinstance(found[0], PassedOver) and found[0].code is BARE_POLICY:
        return Manifests(others={Source(UNKNOWN_NAMESPACE, name): Text(data.decode())})
    notes = tuple(f"{printable(name, _NAME_LIMIT)}: {one.reason} ({one.remedy})" for one in found if isinstance(one, PassedOver))
    return Manifests(tuple(objects_of(found)), notes=notes)


def _unknown(name: str, why: str) -> Manifests:
    return Manifests(others={Source(UNKNOWN_NAMESPACE, name): UnknownText(f"the file {name} {why}")})


def _hinted(reason: str, data: bytes) -> str:
    """Return ``reason`` with what was probably meant in ``data``. The service leaves it out: another line may hold a secret."""
    found = read_stream(data.decode("utf-8", "replace"), LIMITS)
    return reason if not isinstance(found, UnreadableYaml) or found.meant is None else hinted(reason, found.meant.hint)


def _left_out(objects: Iterable[PolicyObject], documents: Mapping[Source, DocumentText], rules: PolicyRules) -> dict[str, None]:
    """Return why ConfigMaps are not among ``documents``, as notes without repetitions."""
    skipped = {item.name for item in objects if isinstance(item, Namespace)} - {source.namespace for source in documents}
    notes: dict[str, None] = {}
    for item in objects:
        if not isinstance(item, ConfigMap) or Source(item.namespace, item.name) in documents:
            continue
        name = printable(f"{item.namespace}/{item.name}", _NAME_LIMIT)
        if not rules.configmaps.matches(dict(item.labels)):
            notes[f"ConfigMap {name} is not active: its labels are not {rules.configmaps}"] = None
        elif item.namespace in skipped:
            notes[f"ConfigMap {name} is not active: the labels of its Namespace are not {rules.namespaces}"] = None
    return notes


# References are valid anywhere that the service could resolve them.
PROFILE_RULES: Final = ProfileRules(namespace="default", with_secrets=True, allow_http=True)


def _issuers(profiles: tuple[IssuerProfile, ...]) -> "HashTrieMap[str, Issuer]":
    """Return the issuers without credentials, and without the values in Secrets and files: no answer needs them.

    Raises:
        ConfigurationError: a profile has a problem.
    """
    plan = plan_profiles(profiles, PROFILE_RULES)
    if isinstance(plan, Rejected):
        raise ConfigurationError(plan.problems)
    return HashTrieMap(
        {one.name: attrs.evolve(completed(one, dict.fromkeys(references(one), "")), credentials=_NOBODY) for one in plan.profiles}
    )


def _unknown_issuers(snapshot: PolicySnapshot) -> "HashTrieMap[str, Issuer]":
    """Return one issuer for each name in ``snapshot``, about which nothing else is known."""
    entries = (entry for document in snapshot.documents() for entry in document.entries)
    names = {entry.target.issuer_ref for entry in entries if isinstance(entry, ExchangeEntry)}
    return HashTrieMap({name: Issuer(name, "", "", AuthMethod.CLIENT_SECRET_BASIC, _NOBODY) for name in names})
