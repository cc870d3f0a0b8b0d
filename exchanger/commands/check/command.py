"""``exchanger check``: reads manifests, and reports the problems of the policies in them.

0: there is none. 1: there is a problem or a warning. 2: wrong arguments, a missing path, or no policy at the paths.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO, assert_never

import attrs

from exchanger.commands.check.engine import Checked, check
from exchanger.commands.check.files import ManifestFile, PlacedProblem, read_file
from exchanger.commands.check.gateways import unfit_profiles
from exchanger.commands.check.options import CheckOptions, Format, HttpGateway
from exchanger.commands.check.published import compare_published
from exchanger.commands.check.report import as_github, as_json, as_text
from exchanger.commands.check.sarif import as_sarif
from exchanger.commands.check.source_map import NOWHERE, FileText, Place, text_field
from exchanger.commands.check.suggest import suggest
from exchanger.commands.check.targets import CheckedProfiles
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.policies import PROFILE_RULES, STANDARD_INPUT, settings_of
from exchanger.commands.terminal import read_input
from exchanger.exchange.issuers.profile_model import Rejected, id_tokens_needed, responses_needed
from exchanger.exchange.issuers.profiles import read_bytes, read_plan
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.nodes import field
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.model.codes import issuers as codes
from exchanger.model.codes.code import Severity
from exchanger.model.codes.manifests import UNREADABLE_FILE, UNRENDERED
from exchanger.model.codes.problem import Problem
from exchanger.model.errors import ConfigurationError
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.mistakes import mistakes_of_baseline
from exchanger.policy.selection import AnyIssuer
from exchanger.sources.directory.folder import CrowdedError, manifest_names
from exchanger.sources.directory.manifest import MAX_FILE_BYTES
from exchanger.util.regular_file import open_regular, unreadable
from exchanger.util.text import printable

CLEAN: Final = 0
PROBLEMS: Final = 1
UNUSABLE: Final = 2

# The name of standard input in messages.
STDIN_NAME: Final = "<stdin>"

_INDEX: Final = re.compile(r"issuers\[(\d+)\]")
_PROFILE: Final = re.compile(r'issuer profile "([^"]*)"')
# The field of a profile that a problem begins with.
_PATH: Final = re.compile(r'(?:issuers\[\d{1,6}\]\.|issuer profile "[^"]*" (?:has )?)([A-Za-z.0-9\[\]]+)')
_STEP: Final = re.compile(r"([A-Za-z]+)(?:\[(\d{1,6})\])?")
# Namespaces, and characters of their names, in a note.
_SHOWN_NAMESPACES: Final = 5
_NAME_LIMIT: Final = 317


def run_check(options: CheckOptions, variables: Mapping[str, str] | None = None, out: TextIO | None = None) -> int:
    """Check the paths, print to ``out`` (default: standard output), and return the exit status.

    ``variables`` are the environment by default: the selectors are those of the service.
    """
    environment, stream = os.environ if variables is None else variables, out or sys.stdout
    try:
        found, rules = _checked(options, environment)
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"exchanger check: {printable(problem)}\n")
        return UNUSABLE
    if not rules.complete and any(Path(path).is_dir() for path in options.paths):
        _tell_undescribed(found.undescribed)
    wrong = found.count(Severity.ERROR) + found.count(Severity.WARNING)
    if options.suggest:
        stream.write(suggest(found, rules))
        if found.problems:
            sys.stderr.write(as_text(found, colours=_has_colours(sys.stderr, environment)))
    else:
        stream.write(_written(found, options.format, colours=_has_colours(stream, environment)))
    if wrong:
        return PROBLEMS
    if found.documents or options.allow_empty:
        return CLEAN
    sys.stderr.write("exchanger check: there is no policy at these paths (--allow-empty accepts that)\n")
    return UNUSABLE


def _tell_undescribed(namespaces: tuple[str, ...]) -> None:
    """Say what is assumed of Namespaces: others apply them to a cluster, and a folder as source must have them."""
    if namespaces:
        names = printable(", ".join(namespaces[:_SHOWN_NAMESPACES]), _NAME_LIMIT) + (", …" if len(namespaces) > _SHOWN_NAMESPACES else "")
        told = f"Namespaces that are not in these files count as labelled: {names} (with POLICY_SOURCE=directory, they must be there)"
        sys.stderr.write(f"exchanger check: {told}\n")


def _written(found: Checked, form: Format, *, colours: bool) -> str:
    match form:
        case Format.TEXT:
            return as_text(found, colours=colours)
        case Format.JSON:
            return as_json(found)
        case Format.GITHUB:
            return as_github(found)
        case Format.SARIF:
            return as_sarif(found)
        case _:
            assert_never(form)


def _has_colours(stream: TextIO, variables: Mapping[str, str]) -> bool:
    """Return whether ``stream`` is a terminal that wants colours (https://no-color.org)."""
    return stream.isatty() and not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


def _checked(options: CheckOptions, variables: Mapping[str, str]) -> tuple[Checked, PolicyRules]:
    """Read everything and check it.

    Raises:
        ConfigurationError: a path is missing, or a variable is wrong
    """
    settings = settings_of(variables, PolicyInputs())
    of_folder = variables.get("POLICY_SOURCE", "").strip().lower() == "directory"
    rules = attrs.evolve(PolicyRules.of(settings, AnyIssuer()), complete=of_folder)
    files = list(read_manifest_files(options.paths))
    profiles: CheckedProfiles | None = None
    more: list[ManifestFile] = []
    if options.issuers is None and options.gateway is not None:
        raise ConfigurationError(("--gateway needs --issuers",))
    if options.issuers is not None:
        file, profiles = _issuers(options.issuers, options.gateway, attrs.evolve(PROFILE_RULES, with_secrets=not of_folder))
        more.append(file)
        if profiles is not None and profiles.issuers:
            rules = attrs.evolve(rules, issuers=frozenset(issuer.name for issuer in profiles.issuers))
    if options.grants is not None:
        file, granted = _grants(options.grants, enforced=settings.grants.enforced)
        more.append(file)
        if granted is not None:
            rules = attrs.evolve(rules, grants=attrs.evolve(granted, limits=settings.grants.limits))
    return check((*more, *files), rules, profiles), rules


def read_manifest_files(paths: Sequence[str]) -> Iterator[ManifestFile]:
    """Read the files at ``paths``, each once.

    Raises:
        ConfigurationError: a path is missing, or cannot be read.
    """
    seen: set[str] = set()
    charts: dict[str, None] = {}
    problems: list[str] = []
    for path in paths:
        try:
            for name in _names_at(path, charts):
                identity = name if name == STANDARD_INPUT else os.path.realpath(name)
                if identity not in seen:
                    seen.add(identity)
                    yield _read(name, explicit=name == path)
        except CrowdedError as crowded:
            problems.append(f"{path} {crowded}")
        except (OSError, ValueError) as error:  # a path with a NUL
            problems.append(f"{path} {unreadable(error)}")
    if problems:
        raise ConfigurationError(tuple(problems))
    for chart in charts:
        folder = Path(chart).parent
        problem = Problem(UNRENDERED, f"the templates of the chart {folder} are not checked: they are not rendered")
        yield ManifestFile(str(folder / "templates"), problems=(PlacedProblem(problem, str(folder / "templates")),))


def _names_at(path: str, charts: dict[str, None]) -> Iterator[str]:
    """Yield the files at ``path`` but for templates of charts; ``charts`` gets the Chart.yaml of these."""
    if path != STANDARD_INPUT and Path(path).is_dir():
        others: list[str] = []
        for name in sorted(manifest_names(Path(path), others)):
            if (chart := _chart_of(path, name)) is None:
                yield str(Path(path) / name)
            else:
                charts[str(chart)] = None
    else:
        yield path


def _chart_of(path: str, name: str) -> Path | None:
    """Return the Chart.yaml of the chart that the file ``name`` below ``path`` is a template of, ``None`` if it is not one."""
    for folder in (Path(path) / name).parents:
        if folder.name == "templates" and (chart := folder.parent / "Chart.yaml").is_file():
            return chart
        if folder == Path(path):
            break
    return None


def _read(name: str, *, explicit: bool) -> ManifestFile:
    """Read a file. A named one may be a pipe, and a policy without its ConfigMap; in a folder, reading a pipe might never end.

    Raises:
        OSError: it was named, and cannot be read
    """
    if name == STANDARD_INPUT:
        return read_file(STDIN_NAME, read_input(MAX_FILE_BYTES + 1), may_be_bare=True)
    try:
        with Path(name).open("rb") if explicit else open_regular(Path(name)) as file:
            return read_file(name, file.read(MAX_FILE_BYTES + 1), may_be_bare=explicit)
    except OSError as error:
        if explicit:
            raise
        problem = Problem(UNREADABLE_FILE, f"the file {unreadable(error)}")
        return ManifestFile(name, problems=(PlacedProblem(problem, name),))


def _text_at(path: Path) -> str:
    data = read_bytes(path)
    if isinstance(data, str):
        raise ConfigurationError((data,))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError((f"{path} is not UTF-8",)) from None


def _issuers(path: Path, gateway: HttpGateway | None, rules: ProfileRules) -> tuple[ManifestFile, CheckedProfiles | None]:
    """Return the file, and the profiles in it; ``None`` if it cannot be used."""
    text = _text_at(path)
    planned = read_plan(text.encode(), "the file", rules)
    root, lines = read_nodes(text), FileText(text)
    place = partial(_place_of, root, lines)
    profiles = None if isinstance(planned, Rejected) else CheckedProfiles(str(path), planned.profiles, place)
    if isinstance(planned, Rejected):
        code = codes.UNREADABLE_ISSUERS if isinstance(root, UnreadableYaml) else codes.WRONG_PROFILE
        problems = tuple(Problem(code, problem) for problem in planned.problems)
    else:
        compared = compare_published(planned)
        for unknown in compared.unknown:
            sys.stderr.write(f"exchanger check: {printable(unknown)}\n")
        told = (
            (codes.NEEDS_RESPONSES, responses_needed(planned) if gateway is None else ()),
            (codes.UNFIT_FOR_GATEWAY, () if gateway is None else unfit_profiles(planned, gateway)),
            (codes.CLIENT_OF_ID_TOKENS, id_tokens_needed(planned)),
            (codes.UNLISTED_TYPE, compared.problems),
        )
        problems = tuple(Problem(code, problem) for code, found in told for problem in found)
    placed = tuple(PlacedProblem(problem, str(path), place(problem.text)) for problem in problems)
    # Without its text, no report quotes a line: a secret may be in the wrong field, and parameters have arbitrary names.
    return ManifestFile(str(path), problems=placed), profiles


def _place_of(root: nodes.Node | UnreadableYaml, lines: FileText, problem: str) -> Place:
    """Return the place of the field that ``problem`` is about, otherwise that of the profile."""
    if isinstance(root, UnreadableYaml):
        return lines.within(root.line, root.column)
    listed = field(root, "issuers")
    items = listed.items if isinstance(listed, nodes.Sequence) else ()
    index, name = _INDEX.search(problem), _PROFILE.search(problem)
    chosen = [item for number, item in enumerate(items) if index is not None and number == int(index[1])]
    chosen += [item for item in items if name is not None and text_field(item, "name") == name[1]]
    if not chosen:
        return NOWHERE
    found, path = chosen[0], _PATH.search(problem)
    for step, number in _STEP.findall(path[1] if path else ""):
        inner = field(found, step)
        if inner is None:
            break
        found = inner
        if number and isinstance(inner, nodes.Sequence) and int(number) < len(inner.items):
            found = inner.items[int(number)]
    return Place(found.line, found.column)


def _grants(path: Path, *, enforced: bool) -> tuple[ManifestFile, Grants | None]:
    """Return the file, and its grants; ``None`` if it has problems."""
    text = _text_at(path)
    found = read_grants(text, has_labels=True, enforced=enforced)
    lines, granted = FileText(text), found if isinstance(found, Grants) else None
    problems = tuple(mistakes_of_baseline(found, text)) if isinstance(found, Grants) else found
    placed = tuple(PlacedProblem(problem, str(path), lines.within(problem.line, problem.column)) for problem in problems)
    return ManifestFile(str(path), lines, problems=placed), granted
