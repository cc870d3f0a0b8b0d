"""The policy of manifests that are not in force, as a service that starts with them would have it.

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

from exchanger.app.grants_file import GrantsSettings
from exchanger.app.policy_environment import LIMIT_VARIABLES
from exchanger.app.settings import Settings, read_settings
from exchanger.codes.manifests import BARE_POLICY
from exchanger.codes.problem import hinted
from exchanger.decision.answer import ExplainedDecision, answer
from exchanger.decision.check import DecisionRules
from exchanger.directory.folder import SUFFIXES, Scan, scan
from exchanger.directory.manifest import LIMITS, MAX_FILE_BYTES, PassedOver, UnreadableFile, objects_of, read_manifests
from exchanger.errors import ConfigurationError
from exchanger.issuers.profile_model import IssuerProfile, Plan, Rejected, plan_profiles
from exchanger.issuers.profiles import parse_profiles, read_bytes
from exchanger.issuers.resolve import completed
from exchanger.issuers.rules import ProfileRules
from exchanger.issuers.value_sources import references
from exchanger.kube.settings import KubernetesSettings
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import AnyIssuer, ConfigMap, DocumentText, Namespace, PolicyObject, Text, UnknownText, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.regular_file import open_regular, unreadable
from exchanger.util.terminal import read_input
from exchanger.util.text import printable
from exchanger.values.entry import UNKNOWN_NAMESPACE, ExchangeEntry, Source
from exchanger.values.issuer import AuthMethod, Credentials, Issuer
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret
from exchanger.values.selector import Selector
from exchanger.yaml.reader import UnreadableYaml, read_stream

STANDARD_INPUT: Final = "-"
# The variables of the service that shape a decision. Those of the cluster, of files and of listeners are not needed here.
VARIABLES: Final = (
    *(
        "CONFIGMAP_NAMESPACE_SELECTOR",
        "CONFIGMAP_LABEL_SELECTOR",
        "POLICY_GRANTS_MODE",
        *LIMIT_VARIABLES,
        "POLICY_REQUIRED",
        "POLICY_UNREADABLE_REACH",
    ),
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
    """The objects in some files. ``unreadable`` says why others cannot be read, by name; ``notes`` are for the user who chose the files.

    ``bare`` are policy documents that are in no ConfigMap, by the names of their files.
    """

    objects: tuple[PolicyObject, ...] = ()
    bare: Mapping[str, str] = attrs.field(factory=dict)
    unreadable: Mapping[str, str] = attrs.field(factory=dict)
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


@final
@attrs.frozen
class Chosen:
    """Files with issuer profiles and grants; ``None``: every issuer is known, and there are no grants."""

    issuers: Path | None = None
    grants: Path | None = None


def settings_of(variables: Mapping[str, str], *more: str) -> Settings:
    """Return the service's settings from those of ``variables`` that matter here, and from ``more`` of them.

    Raises:
        ConfigurationError: one of them is invalid.
    """
    given = {name: variables[name] for name in (*VARIABLES, *more) if name in variables}
    return read_settings({**given, "POLICY_SOURCE": "kubernetes"})


def policy_of_paths(paths: Sequence[str], chosen: Chosen, variables: Mapping[str, str]) -> AssembledPolicy:
    """Return the policy of the manifests at ``paths``; blocks while they are read.

    Raises:
        ConfigurationError: a path is missing, or a file of issuers or grants cannot be used
    """
    settings = settings_of(variables)
    manifests = read_paths(paths)
    documents, undescribed, notes = _selected(manifests, *selectors_of(settings), settings.grants.limits)
    return assembled(documents, settings, chosen, (*manifests.notes, *notes), undescribed)


def assembled(
    documents: Mapping[Source, DocumentText],
    settings: Settings,
    chosen: Chosen,
    notes: tuple[str, ...] = (),
    undescribed: Iterable[str] = (),
) -> AssembledPolicy:
    """Return the policy that consists of ``documents``, under ``settings``; blocks while files are read.

    ``undescribed`` are Namespaces whose labels are not known.

    Raises:
        ConfigurationError: a file of issuers or grants cannot be used.
    """
    profiles, plan = (None, None) if chosen.issuers is None else read_profiles(chosen.issuers)
    grants = settings.grants if chosen.grants is None else read_grants_file(settings.grants, chosen.grants)
    names = AnyIssuer() if profiles is None else frozenset(profiles)
    made = advance(PolicySnapshot.EMPTY, {}, documents, names, grants=grants.grants).snapshot
    current = CurrentPolicy(required=settings.policy_required, reach=settings.unreadable_reach)
    current.publish(made)
    issuers = _unknown_issuers(made) if plan is None else _issuers(plan)
    return AssembledPolicy(
        current.snapshot,
        current.newest or made,
        attrs.evolve(settings.decision, issuers=issuers),
        profiles,
        (
            *notes,
            *(_unlabelled(undescribed) if any(grant.needs_labels for grant in grants.grants.grants) else ()),
            *(_refused(made) if grants.grants.enforced else ()),
        ),
    )


def _unlabelled(namespaces: Iterable[str]) -> Iterator[str]:
    for name in islice(namespaces, _MAX_NOTES):
        yield f"Namespace {printable(name, _NAME_LIMIT)} is not among the manifests: grants by label do not apply to it"


def _refused(snapshot: PolicySnapshot) -> Iterator[str]:
    """Yield what the grants refuse: it looks like policy and decides nothing."""
    refused = (refusal for document in snapshot.documents() for refusal in document.refused)
    for refusal in islice(refused, _MAX_NOTES):
        yield f"{printable(str(refusal.source), _NAME_LIMIT)}: {refusal.coded}, and has no effect"


def selectors_of(settings: Settings) -> tuple[Selector, Selector]:
    """Return the selectors of Namespaces and of ConfigMaps."""
    policy = settings.policy
    if not isinstance(policy, KubernetesSettings):
        raise TypeError("the settings of another source")
    return policy.namespace_selector, policy.configmap_selector


def read_paths(paths: Sequence[str]) -> Manifests:
    """Return the objects in files, in folders, and in standard input for ``-``; blocks while they are read.

    Raises:
        ConfigurationError: a path is missing, a folder cannot be listed, or standard input is named twice
    """
    objects: list[PolicyObject] = []
    bare: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    notes: list[str] = []
    read_once(*paths)
    problems: list[str] = []
    for path in paths:
        found = _read_path(path)
        if isinstance(found, str):
            problems.append(f"{printable(path, _NAME_LIMIT)} {found}")
            continue
        objects += found.objects
        bare |= found.bare
        unreadable |= found.unreadable
        notes += found.notes
    if problems:
        raise ConfigurationError(tuple(problems))
    return Manifests(tuple(objects), bare, unreadable, tuple(notes[:_MAX_NOTES]))


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
            return _of_bytes("standard input", read_input(MAX_FILE_BYTES + 1), is_json=False)
        if Path(path).is_dir():
            scanned = scan(Path(path), Scan())
            if scanned.problem is not None:
                return scanned.problem
            named = {str(Path(path) / name): _with_hint(Path(path) / name, reason) for name, reason in scanned.unknown().items()}
            notes = tuple(_note(str(Path(path) / name), found) for name, found in scanned.passed_over())
            nothing = () if scanned.files else (f"{printable(path, _NAME_LIMIT)} has no file that ends in {', '.join(SUFFIXES)}",)
            return Manifests(tuple(scanned.manifests()), unreadable=named, notes=(*notes, *nothing))
        with open_regular(Path(path)) as file:
            return _of_bytes(path, file.read(MAX_FILE_BYTES + 1), is_json=path.endswith(".json"))
    except (OSError, ValueError) as error:  # a path with a NUL
        return unreadable(error)


def _of_bytes(name: str, data: bytes, *, is_json: bool) -> Manifests:
    found = read_manifests(data, is_json=is_json)
    if isinstance(found, UnreadableFile):
        return Manifests(unreadable={name: found.reason if is_json else _hinted(found.reason, data)})
    if len(found) == 1 and isinstance(found[0], PassedOver) and found[0].code is BARE_POLICY:
        return Manifests(bare={name: data.decode()})
    notes = tuple(_note(name, one) for one in found if isinstance(one, PassedOver))
    return Manifests(tuple(objects_of(found)), notes=notes)


def _with_hint(path: Path, reason: str) -> str:
    """Return why the file at ``path`` cannot be read, with what was probably meant."""
    try:
        with open_regular(path) as file:
            return _hinted(reason, file.read(MAX_FILE_BYTES + 1))
    except OSError:
        return reason


def _hinted(reason: str, data: bytes) -> str:
    """Return ``reason`` with what was probably meant in ``data``. The service leaves it out: another line may hold a secret."""
    found = read_stream(data.decode("utf-8", "replace"), LIMITS)
    return reason if not isinstance(found, UnreadableYaml) or found.meant is None else hinted(reason, found.meant.hint)


def _note(name: str, found: PassedOver) -> str:
    return f"{printable(name, _NAME_LIMIT)}: {found.reason} ({found.remedy})"


def _selected(
    manifests: Manifests, namespaces: Selector, config_maps: Selector, limits: NamespaceLimits
) -> tuple[dict[Source, DocumentText], tuple[str, ...], tuple[str, ...]]:
    """Return the documents in force, the Namespaces that nothing describes, and notes on the ConfigMaps that are not in force."""
    objects = manifests.objects
    described = {item.name for item in objects if isinstance(item, Namespace)}
    others = dict.fromkeys(item.namespace for item in objects if isinstance(item, ConfigMap) and item.namespace not in described)
    documents = select(objects, namespaces, config_maps, limits)
    assumed: tuple[PolicyObject, ...] = (*(Namespace(name, ()) for name in others), *objects)
    for source, document in select(assumed, Selector(), config_maps, limits).items():
        if source.namespace in others:
            documents[source] = document
    unknown = {Source(UNKNOWN_NAMESPACE, name): UnknownText(f"the file {name} {why}") for name, why in manifests.unreadable.items()}
    left_out = (item for item in objects if isinstance(item, ConfigMap) and Source(item.namespace, item.name) not in documents)
    notes = dict.fromkeys(_left_out(left_out, described - {source.namespace for source in documents}, namespaces, config_maps))
    plain = {Source(UNKNOWN_NAMESPACE, name): Text(text) for name, text in manifests.bare.items()}
    return {**documents, **plain, **unknown}, tuple(others), tuple(notes)[:_MAX_NOTES]


def _left_out(found: Iterable[ConfigMap], skipped: set[str], namespaces: Selector, config_maps: Selector) -> Iterator[str]:
    for item in found:
        name = printable(f"{item.namespace}/{item.name}", _NAME_LIMIT)
        if not config_maps.matches(dict(item.labels)):
            yield f"ConfigMap {name} is not in force: its labels are not {config_maps}"
        elif item.namespace in skipped:
            yield f"ConfigMap {name} is not in force: the labels of its Namespace are not {namespaces}"


def read_profiles(path: Path) -> tuple[dict[str, IssuerProfile], Plan]:
    """Return the profiles in a file by name, and the plan for them; blocks while it is read. Secrets that it refers to are not looked up.

    Raises:
        ConfigurationError: it cannot be read, or has a problem.
    """
    data = read_bytes(path)
    if isinstance(data, str):
        raise ConfigurationError((data,))
    profiles, problems = parse_profiles(data, str(path))
    planned = Rejected(problems) if problems else plan_profiles(profiles, PROFILE_RULES)
    if isinstance(planned, Rejected):
        raise ConfigurationError(planned.problems)
    return {profile.name: profile for profile in profiles}, planned


# References are valid anywhere that the service could resolve them.
PROFILE_RULES: Final = ProfileRules(namespace="default", with_secrets=True, allow_http=True)


def read_grants_file(settings: GrantsSettings, path: Path) -> GrantsSettings:
    """Return ``settings`` with the grants in a file; blocks while it is read.

    Raises:
        ConfigurationError: it cannot be used.
    """
    try:
        return attrs.evolve(settings, path=path).loaded()
    except ValueError as error:
        raise ConfigurationError((f"{path} {error}",)) from None


def _issuers(plan: Plan) -> "HashTrieMap[str, Issuer]":
    """Return the issuers without credentials, and without the values in Secrets and files: no answer needs them."""
    return HashTrieMap(
        {one.name: attrs.evolve(completed(one, dict.fromkeys(references(one), "")), credentials=_NOBODY) for one in plan.profiles}
    )


def _unknown_issuers(snapshot: PolicySnapshot) -> "HashTrieMap[str, Issuer]":
    """Return one issuer for each name in ``snapshot``, about which nothing else is known."""
    entries = (entry for document in snapshot.documents() for entry in document.entries)
    names = {entry.target.issuer_ref for entry in entries if isinstance(entry, ExchangeEntry)}
    return HashTrieMap({name: Issuer(name, "", "", AuthMethod.CLIENT_SECRET_BASIC, _NOBODY) for name in names})
