"""Laws of settings: no message repeats a secret, and misspelt names are noticed."""

import base64
import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.app.admission.settings import SHARED, read_admission_settings
from exchanger.app.settings import known_variables, read_settings
from exchanger.app.variable_names import MAX_UNKNOWN, NAME_LIMIT, unknown_variables
from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.profiles import read_plan
from exchanger.exchange.issuers.profiles_file import check_file
from exchanger.exchange.issuers.referenced_files import read_files
from exchanger.exchange.issuers.resolve import Found, resolve
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import SecretFault, SecretProblem
from exchanger.exchange.issuers.value_sources import FileSet
from exchanger.model.errors import ConfigurationError
from exchanger.model.notice import MAX_NOTICES, SUBJECT_LIMIT, TEXT_LIMIT, Notices
from exchanger.model.selector import parse_selector
from exchanger.policy.notices import near_label, of_config_maps, of_namespaces
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.util.text import distance
from tests.exchange.issuers.fakes import PROFILES, places

# A secret in any place of the environment or of the profiles file shows in no message: somebody pastes the key, not the path of it.


RULES: Final = ProfileRules(namespace="home", with_secrets=True)

_bytes: Final = st.binary(min_size=18, max_size=64)
_base64: Final = _bytes.map(lambda data: base64.b64encode(data).decode())
SECRETS: Final = st.one_of(
    _base64,
    _base64.map(lambda text: f"/{text}"),  # looks like a path
    _bytes.map(bytes.hex),
    _base64.map(lambda text: f"sk-{text.replace('/', '_').replace('+', '-')}"),
    _base64.map(lambda text: f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"),
    _base64.map(lambda text: f"redis://user:{text.replace('/', '')}@cache.example.com"),
    _base64.map(lambda text: f"/{text.replace('/', '')}/" * 100),  # longer than any path
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=80),
)

ENVIRONMENT: Final[Mapping[str, str]] = {
    "POLICY_SOURCE": "directory",
    "TOKEN_CACHE_URL": "rediss://cache.example.com",
    "TOKEN_CACHE_USERNAME": "app",
    "CONSOLE_ADDRESS": "127.0.0.1:3003",
    "GRPC_TLS_CERT_FILE": "/etc/hostname",
    "GRPC_TLS_KEY_FILE": "/etc/hostname",
    "TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT": "true",
    "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example.com",
}
_OTLP: Final = ("ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "INSECURE")
OTEL: Final = (
    *(f"OTEL_EXPORTER_OTLP_{part}" for part in _OTLP),
    *(f"OTEL_EXPORTER_OTLP_{signal}_{part}" for part in _OTLP for signal in ("TRACES", "METRICS")),
    *("OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_PROPAGATORS", "OTEL_TRACES_EXPORTER"),
    *(
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_METRICS_EXPORTER",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
    ),
    *("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
)
PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
VARIABLES: Final = (*sorted(known_variables()), *OTEL, *PROXIES, "TOKEN_EXCHANGE_NO_SUCH_VARIABLE")


def shows(secret: str, said: str) -> bool:
    """Return whether something of ``secret`` that tells it from others is in ``said``."""
    return any(line in said for line in secret.split() if len(line) >= 8 and not line.startswith("-----"))


def told(variables: Mapping[str, str]) -> str:
    """Return all that the readers of the environment say of ``variables``."""
    said: list[object] = []
    for read in (read_settings, read_admission_settings):
        try:
            said += read(variables).without_effect
        except ConfigurationError as error:
            said += [error, error.problems]
    return "\n".join(map(str, said))


@given(st.sampled_from(VARIABLES), SECRETS, st.booleans())
@example("TOKEN_CACHE_KEY_FILE", "/x8FkIWxxbTNLsoAYXZvGXEs8wRyjHmU5WG0UEIYOPY=", False)
@example("SHUTDOWN_GRACE_PERIOD", "IWxxbTNLsoAYXZvGXEs8wRyjHmU5WG0UEIYOPY=", False)
def test_no_problem_of_the_environment_repeats_a_secret(name: str, secret: str, alone: bool) -> None:
    assert not shows(secret, told({**({} if alone else ENVIRONMENT), name: secret}))


# Names are shown: policies use those of profiles, and operators have to find Secrets.
NAMES: Final = {"name", "namespace", "key"}
PLACES: Final = [at for at in places() if at[-1] not in NAMES]


def changed(at: tuple[object, ...], secret: str, how: str) -> list[dict[str, Any]]:
    """Return the profiles with ``secret`` at a place: as the value, as a field's name, as a field beside it, or in a list or a mapping."""
    found = copy.deepcopy(PROFILES)
    there: Any = found
    for key in at[:-1]:
        there = there[key]
    if how == "name" and isinstance(there, dict):
        there[secret] = there.pop(at[-1])
    elif how == "beside" and isinstance(there, dict):
        there[secret] = None
    else:
        there[at[-1]] = {"value": secret, "list": [secret], "mapping": {secret: secret}}.get(how, secret)
    return found


def found_at(place: object) -> Found:
    return read_files(place) if isinstance(place, FileSet) else SecretProblem(SecretFault.MISSING, "is missing")


@given(st.sampled_from(PLACES), SECRETS, st.sampled_from(["value", "name", "beside", "list", "mapping"]))
@example((1, "clientAssertion", "keyFile"), "/x8FkIWxxbTNLsoAYXZvGXEs8wRyjHmU5WG0UEIYOPY=", "value")
@example((0, "cache", "maxTTL"), "IWxxbTNLsoAYXZvGXEs8wRyjHmU5WG0UEIYOPY=", "value")
def test_no_problem_of_the_profiles_file_repeats_a_secret(at: tuple[object, ...], secret: str, how: str) -> None:
    data = json.dumps({"issuers": changed(at, secret, how)}).encode()
    plan = read_plan(data, "issuers.yaml", RULES)
    if isinstance(plan, Plan):
        found = HashTrieMap({place: found_at(place) for place in plan.places})
        said = "\n".join(map(str, resolve(plan, found).issues))
    else:
        said = "\n".join(plan.problems)
    assert not shows(secret, said)


@given(
    SECRETS,
    st.sampled_from(["{}", "issuers: {}", "{}: 1\n{}: 1", "issuers: [{}]", "*{}", "issuers: {{a: {}, a: {}}}", "issuers: [{{{}: 1}}]"]),
)
def test_no_problem_of_another_file_repeats_a_secret(secret: str, form: str) -> None:
    quoted = json.dumps(secret)
    for text in (form.replace("{}", quoted).replace("{{", "{").replace("}}", "}"), secret):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "issuers.yaml"
            file.write_text(text)
            assert not shows(secret, "\n".join(check_file(file, RULES)))


def test_a_path_is_shown_where_its_folder_is(tmp_path: Path) -> None:
    missing = tmp_path / "keys"
    environment = {**ENVIRONMENT, "POLICY_DIRECTORY": str(tmp_path), "TOKEN_CACHE_USERNAME": "", "GRPC_TLS_CERT_FILE": ""}
    with pytest.raises(ConfigurationError, match="No such file") as raised:
        read_settings({**environment, "TOKEN_CACHE_KEY_FILE": str(missing)})
    assert str(missing) in str(raised.value)
    with pytest.raises(ConfigurationError) as raised:
        read_settings({**environment, "TOKEN_CACHE_KEY_FILE": "a" * 44})
    assert raised.value.problems == ("TOKEN_CACHE_KEY_FILE (a text of 44 characters) cannot be read: No such file or directory",)


def test_the_webhook_reads_what_is_shared() -> None:
    """So that the law above is about its variables, too."""
    assert set(SHARED) <= set(VARIABLES)


# Whoever misspells a name within two edits is told, and told the right one; whoever spells all names right hears nothing.


KNOWN: Final = sorted(known_variables())
CANARY: Final = "canary-value"
LABEL: Final = "ext-authz-token-exchange.magneticflux.net/enabled"
NAMESPACE_LABEL: Final = "ext-authz-token-exchange.magneticflux.net/policy"
CONFIG_MAPS: Final = parse_selector(f"{LABEL}=true")
NAMESPACES: Final = parse_selector(f"{NAMESPACE_LABEL}=enabled")
LETTERS: Final = st.sampled_from("ABCXYZ_0abcxyz-./")


@st.composite
def misspelt(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[str, str]:
    """Return a name and what one or two slips make of it."""
    right = draw(names)
    name = right
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(name) - 1))
        slip = draw(st.sampled_from(["lose", "add", "change", "swap"]))
        letter = draw(LETTERS)
        match slip:
            case "lose":
                name = name[:at] + name[at + 1 :]
            case "add":
                name = name[:at] + letter + name[at:]
            case "change":
                name = name[:at] + letter + name[at + 1 :]
            case _:
                name = name[:at] + name[at : at + 2][::-1] + name[at + 2 :]
    return right, name


@given(misspelt(st.sampled_from(KNOWN)))
def test_each_near_miss_of_a_variable_is_told_with_the_nearest_name(pair: tuple[str, str]) -> None:
    right, name = pair
    assume(name not in KNOWN and distance(name.upper(), right) <= 2)
    ((found, text),) = unknown_variables({name: CANARY}, frozenset(KNOWN))
    meant = text.partition("did you mean ")[2].rstrip("?")
    assert found == name
    assert meant in KNOWN
    folded = name.upper().replace("-", "_").replace(".", "_")
    assert distance(folded, meant) <= distance(folded, right)


@given(st.dictionaries(st.sampled_from(KNOWN), st.text()))
def test_no_known_name_is_told(variables: dict[str, str]) -> None:
    assert unknown_variables(variables, frozenset(KNOWN)) == ()


prefixed = st.builds(lambda prefix, rest: f"{prefix}{rest}", st.sampled_from(["POLICY_", "TOKEN_EXCHANGE_", "GRPC_"]), st.text())


@given(st.dictionaries(prefixed | st.text(), st.just(CANARY), max_size=60))
def test_what_is_told_of_variables_is_bounded_and_has_no_values(variables: dict[str, str]) -> None:
    told = unknown_variables(variables, frozenset(KNOWN))
    assert len(told) <= MAX_UNKNOWN + 1
    for name, text in told:
        assert len(name) <= NAME_LIMIT
        assert name.isprintable()
        assert CANARY not in name + text
        assert len(text) <= 128


@given(misspelt(st.sampled_from([LABEL, NAMESPACE_LABEL])))
def test_each_near_miss_of_a_label_is_told_with_the_right_one(pair: tuple[str, str]) -> None:
    right, key = pair
    selector, other, value = (CONFIG_MAPS, NAMESPACES, "true") if right == LABEL else (NAMESPACES, CONFIG_MAPS, "enabled")
    assume(key != right and distance(key, right) <= 2)  # two slips may lie further apart: a swap of what a letter was lost between
    hint = near_label(((key, value),), selector, other)
    assert hint is not None
    assert f"{right}={value}" in hint


@given(misspelt(st.sampled_from(["true", "enabled"])))
def test_each_near_miss_of_a_value_is_told_with_the_right_one(pair: tuple[str, str]) -> None:
    right, value = pair
    selector, other, key = (CONFIG_MAPS, NAMESPACES, LABEL) if right == "true" else (NAMESPACES, CONFIG_MAPS, NAMESPACE_LABEL)
    assume(value != right)
    hint = near_label(((key, value),), selector, other)
    assert hint is not None
    assert f"{key}={right}" in hint


keys = st.sampled_from([LABEL, NAMESPACE_LABEL, "app", "x/enabled"]) | st.text(max_size=400)
labels = st.dictionaries(keys, st.sampled_from(["true", "enabled", "false", "yes"]) | st.text(max_size=80), max_size=4)
names = st.text(max_size=400)
documents = st.none() | st.text().map(lambda text: f"version: v1\nentries: []\n# {CANARY} {text}")


@given(
    st.lists(st.builds(lambda name, of: Namespace(name, tuple(of.items())), names, labels), max_size=30),
    st.lists(st.builds(lambda a, b, of, text: ConfigMap(a, b, tuple(of.items()), text), names, names, labels, documents), max_size=30),
)
def test_what_is_told_of_objects_is_bounded_and_has_no_document(namespaces: list[Namespace], config_maps: list[ConfigMap]) -> None:
    known = {item.name: NAMESPACES.matches(dict(item.labels)) for item in namespaces}
    found = [*of_namespaces(namespaces, NAMESPACES, CONFIG_MAPS), *of_config_maps(config_maps, known, CONFIG_MAPS, NAMESPACES)]
    kept = Notices.of(found)
    assert (len(kept.listed), kept.count) == (min(len(found), MAX_NOTICES), len(found))
    for notice in found:
        assert len(notice.subject) <= SUBJECT_LIMIT
        assert len(notice.text) <= TEXT_LIMIT
        assert len(notice.remedy) <= TEXT_LIMIT
        assert str(notice).isprintable()
        assert CANARY not in str(notice)


@given(st.dictionaries(names, st.lists(names, max_size=3), max_size=5))
def test_what_is_in_order_is_not_told_of(teams: dict[str, list[str]]) -> None:
    namespaces = {name: NAMESPACES.matches({NAMESPACE_LABEL: "enabled"}) for name in teams}
    config_maps = [ConfigMap(team, name, ((LABEL, "true"),), "version: v1") for team, owned in teams.items() for name in owned]
    assert not list(of_config_maps(config_maps, namespaces, CONFIG_MAPS, NAMESPACES))
    assert not list(of_namespaces([Namespace(name, ((NAMESPACE_LABEL, "enabled"),)) for name in teams], NAMESPACES, CONFIG_MAPS))
