"""What looks as if it protects, and has no effect: each is warned about, with the object and the likely mistake.

The service lets pass what no policy matches, so a policy that is not active is a hole that nobody sees.
"""

import shutil
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
import trio
import trio.testing

from exchanger.app.policy_sync import PolicySync
from exchanger.app.settings import read_settings
from exchanger.model.errors import ConfigurationError
from exchanger.model.notice import Notices
from exchanger.net.network import SYSTEM
from exchanger.policy.current import CurrentPolicy
from tests.e2e.service import ISSUERS, environment
from tests.sources.kube.cluster import Cluster, Record, source
from tests.waiting import until

OURS: Final = "ext-authz-token-exchange.magneticflux.net"
POLICY: Final = "version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]"
PATIENCE_S: Final = 30.0

Line = MutableMapping[str, Any]


def namespace(labels: str = f"{OURS}/policy: enabled", kind: str = "Namespace", version: str = "v1") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: team, labels: {{{labels}}}}}\n---\n"


def config_map(
    labels: str = f'{OURS}/enabled: "true"', kind: str = "ConfigMap", version: str = "v1", key: str = "config.yaml", text: str = POLICY
) -> str:
    metadata = f"metadata: {{name: orders, namespace: team, labels: {{{labels}}}}}"
    document = "".join(f"    {line}\n" for line in text.splitlines())
    return f"apiVersion: {version}\nkind: {kind}\n{metadata}\ndata:\n  {key}: |\n{document}---\n"


NAMESPACE: Final = namespace()
WHOLE: Final = NAMESPACE + config_map()

SELECTORS: Final = ("enabled in (true)", "policy in (enabled)")
LABEL_MEANT: Final = ("team/orders", f"{OURS}/enabled=true")
DEEP: Final = "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/"
FOLDERS: Final[dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
    "an empty folder": ({}, SELECTORS),
    "a folder of folders": ({"a/b/README.md": ""}, SELECTORS),
    "a file that is empty": ({"p.yaml": "", "q.yaml": WHOLE}, ("p.yaml", "empty")),
    "an empty List": ({"p.yaml": "apiVersion: v1\nkind: List\nitems: []\n", "q.yaml": WHOLE}, ("p.yaml", "List", "without items")),
    "an extension in upper case": ({"p.YAML": WHOLE}, ("p.YAML", ".yaml")),
    "an extension in both cases": ({"sub/p.Yml": WHOLE}, ("sub/p.Yml", ".yml")),
    "an extension after the extension": ({"p.yaml.txt": WHOLE}, ("p.yaml.txt",)),
    "an editor's copy without its file": ({"p.yaml~": WHOLE}, ("p.yaml~",)),
    "an extension with a typo": ({"p.ymal": WHOLE}, ("p.ymal", ".yaml")),
    "no extension but yaml": ({"p.json.bak": WHOLE}, ("p.json.bak",)),
    "too deep a folder": ({f"{DEEP}r.yaml": WHOLE}, (DEEP, "deep")),
    "a policy without a ConfigMap": ({"p.yaml": POLICY, "n.yaml": NAMESPACE}, ("p.yaml", "ConfigMap")),
}
FILES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "a file that holds nothing that counts": (NAMESPACE, SELECTORS),
    "a List without items": ("apiVersion: v1\nkind: ConfigMapList\n", ("p.yaml", "without items")),
    "a List whose items have no kind": (
        "apiVersion: v1\nkind: List\nitems: [{metadata: {name: x}}]\n",
        ("p.yaml", "item 0", "has no kind"),
    ),
    "kind Configmap": (NAMESPACE + config_map(kind="Configmap"), ("p.yaml", "'Configmap'", "kind: ConfigMap")),
    "kind ConfigMaps": (NAMESPACE + config_map(kind="ConfigMaps"), ("p.yaml", "'ConfigMaps'", "kind: ConfigMap")),
    "kind NameSpace": (namespace(kind="NameSpace") + config_map(), ("p.yaml", "'NameSpace'", "kind: Namespace")),
    "apiVersion v2": (NAMESPACE + config_map(version="v2"), ("p.yaml", "'v2'", "apiVersion: v1")),
    "apiVersion core/v1": (NAMESPACE + config_map(version="core/v1"), ("p.yaml", "'core/v1'", "apiVersion: v1")),
    "apiVersion V1 of a Namespace": (namespace(version="V1") + config_map(), ("p.yaml", "'V1'", "apiVersion: v1")),
    "neither kind nor apiVersion": ("metadata: {name: x}\ndata: {config.yaml: ''}", ("p.yaml", "apiVersion", "kind")),
    "no Namespace": (config_map(), ("team/orders", "Namespace team", "policy in (enabled)")),
    "a Namespace without labels": (namespace("") + config_map(), ("team/orders", "Namespace team")),
    "a Namespace's label with a typo": (
        namespace(f"{OURS}/polcy: enabled") + config_map(),
        ("Namespace team", f"{OURS}/polcy", f"{OURS}/policy=enabled"),
    ),
    "a Namespace's label with another value": (
        namespace(f'{OURS}/policy: "true"') + config_map(),
        ("Namespace team", f"{OURS}/policy=enabled"),
    ),
    "a Namespace with a ConfigMap's label": (
        namespace(f'{OURS}/enabled: "true"') + config_map(),
        ("Namespace team", f"{OURS}/enabled", f"{OURS}/policy=enabled"),
    ),
    "a label with a typo": (NAMESPACE + config_map(f'{OURS}/enable: "true"'), (*LABEL_MEANT, f"{OURS}/enable")),
    "a label with the value yes": (NAMESPACE + config_map(f'{OURS}/enabled: "yes"'), LABEL_MEANT),
    "a label with the value True": (NAMESPACE + config_map(f'{OURS}/enabled: "True"'), LABEL_MEANT),
    "a label without its domain": (NAMESPACE + config_map('enabled: "true"'), LABEL_MEANT),
    "a label of the wrong top domain": (NAMESPACE + config_map(f'{OURS.replace(".net", ".com")}/enabled: "true"'), LABEL_MEANT),
    "a label of another domain": (
        NAMESPACE + config_map('exchanger.example.com/enabled: "true"'),
        ("team/orders", "looks like a policy", "enabled in (true)"),
    ),
    "a ConfigMap without labels": (NAMESPACE + config_map(""), ("team/orders", "looks like a policy")),
    "a key config.yml": (NAMESPACE + config_map(key="config.yml"), ("team/orders", "config.yml", "rename it to config.yaml")),
    "a key Config.yaml": (NAMESPACE + config_map(key="Config.yaml"), ("team/orders", "Config.yaml", "rename it to config")),
    "a document of no entries": (NAMESPACE + config_map(text="version: v1\nentries: []"), ("no active entry",)),
}
CASES: Final = {**FOLDERS, **{case: ({"p.yaml": text}, words) for case, (text, words) in FILES.items()}}


async def follow(root: Path, change: Callable[[Path], None] | None = None) -> list[Line]:
    """Follow the folder until it has been read, ``change`` it, and return what was logged as a warning or worse until that was seen."""
    (root / "issuers.yaml").write_text(ISSUERS)
    settings = read_settings(environment(root))
    policy = CurrentPolicy()
    versions = 0  # each is told in one step with what is suspicious about it

    def count(_snapshot: object) -> None:
        nonlocal versions
        versions += 1

    policy.on_change(count)
    with structlog.testing.capture_logs() as lines, trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            following = PolicySync(settings, policy, lambda _issuers: None, lambda _stale: None, structlog.get_logger(), SYSTEM)
            nursery.start_soon(following.run)
            await until(lambda: versions == 1)
            if change is not None:
                change(root / "policy")
                await until(lambda: versions == 2)
            nursery.cancel_scope.cancel()
    return [line for line in lines if line["log_level"] in {"warning", "error"}]


def write(root: Path, files: dict[str, str]) -> None:
    (root / "policy").mkdir()
    for name, text in files.items():
        path = root / "policy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("case", CASES)
async def test_a_folder_that_protects_nothing_is_warned_about(case: str, tmp_path: Path) -> None:
    files, words = CASES[case]
    write(tmp_path, files)
    said = [" ".join(str(value) for value in line.values()) for line in await follow(tmp_path)]
    assert any(all(word in text for word in words) for text in said), said


@pytest.mark.parametrize(
    "files",
    [
        {"p.yaml": WHOLE},
        {"n.yml": NAMESPACE, "p.yaml": config_map(), "p.yaml~": "", "README.md": "", ".hidden.yaml": "", "values.txt": ""},
        {"p.yaml": WHOLE + (namespace(f"{OURS}/policy: disabled") + config_map()).replace("team", "other")},
        {"p.yaml": WHOLE + config_map(f'{OURS}/enabled: "false"').replace("orders", "switched-off")},
        {"p.yaml": WHOLE + config_map("app: x", text="a: b").replace("orders", "another-program")},
        {"p.yaml": WHOLE + "apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: Secret\n"},
    ],
)
async def test_a_folder_that_is_in_order_is_not_warned_about(files: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path, files)
    assert await follow(tmp_path) == []


def replaced(folder: Path) -> None:
    folder.rename(folder.with_name("before"))
    folder.mkdir()


def emptied(folder: Path) -> None:
    shutil.rmtree(folder / "sub")


@pytest.mark.parametrize(
    ("files", "change", "gone"),
    [({"p.yaml": WHOLE, "q.yaml": config_map().replace("orders", "payments")}, replaced, 2), ({"sub/p.yaml": WHOLE}, emptied, 1)],
    ids=["replaced by an empty one", "emptied"],
)
async def test_a_folder_that_loses_its_policies_is_warned_about(
    files: dict[str, str], change: Callable[[Path], None], gone: int, tmp_path: Path
) -> None:
    write(tmp_path, files)
    assert [line for line in await follow(tmp_path, change) if f"{gone} that were active are gone" in str(line)]


MEANT_UNMATCHED: Final = "did you mean TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED?"
VARIABLES: Final = [
    ("TOKEN_EXCHANGE_DEFAULT_DENY_UNMACHED", "true", MEANT_UNMATCHED),
    ("token_exchange_default_deny_unmatched", "true", MEANT_UNMATCHED),
    ("TOKEN-EXCHANGE-DEFAULT-DENY-UNMATCHED", "true", MEANT_UNMATCHED),
    ("TOKEN_EXCHNGE_DEFAULT_DENY_UNMATCHED", "true", MEANT_UNMATCHED),
    ("TOKEN_EXCHANGE_DENY_UNMATCHED", "true", MEANT_UNMATCHED),
    ("POLICY_REQUIRED ", "true", "did you mean POLICY_REQUIRED?"),
    ("POLICY_REQIURED", "true", "did you mean POLICY_REQUIRED?"),
    ("GRPC_TLS_CERT", "/canary", "did you mean GRPC_TLS_CERT_FILE?"),
    ("TOKEN_ENDPOINT_ALLOWLIST", "https://canary", "there is no such variable"),  # another service read it
    ("GRPC_TLS_CLIENT_CA_FLE", "/canary", "did you mean GRPC_TLS_CLIENT_CA_FILE?"),  # read only with TLS
    ("POLICY_NAMESPACE", "canary", "did you mean POLICY_NAMESPACES?"),  # read only in a cluster
    ("METRICS_ENABLE", "true", "did you mean METRICS_ENABLED?"),
    ("CONSOLE_TOKENFILE", "/canary", "did you mean CONSOLE_TOKEN_FILE?"),
    ("CONFIGMAP_LABELS_SELECTOR", "canary=x", "did you mean CONFIGMAP_LABEL_SELECTOR?"),
    ("TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED", "", "is empty, so the default applies"),
    ("TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED", "  ", "is empty, so the default applies"),
    ("GRPC_PORT", "", "is empty, so the default applies"),
    ("POLICY_NAMESPACES", "canary", "it applies only to POLICY_SOURCE=kubernetes"),
    ("METRICS_PORT", "tcp://10.0.0.1:3002", "Kubernetes set it for the Service 'metrics'"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), VARIABLES)
def test_a_variable_without_effect_is_warned_about(name: str, value: str, sentence: str, tmp_path: Path) -> None:
    write(tmp_path, {"p.yaml": WHOLE})
    (tmp_path / "issuers.yaml").write_text(ISSUERS)
    ((found, text),) = read_settings({**environment(tmp_path), name: value}).without_effect
    assert found == name
    assert sentence in text
    assert "canary" not in text


def test_variables_of_other_programs_are_not_warned_about(tmp_path: Path) -> None:
    write(tmp_path, {"p.yaml": WHOLE})
    (tmp_path / "issuers.yaml").write_text(ISSUERS)
    others = {
        "GRPC_SERVICE_HOST": "10.0.0.1",
        "GRPC_SERVICE_PORT": "3001",
        "GRPC_SERVICE_PORT_GRPC_AUTHZ": "3001",
        "POLICY_PORT": "tcp://10.0.0.1:80",
        "POLICY_PORT_80_TCP": "tcp://10.0.0.1:80",
        "POLICY_PORT_80_TCP_ADDR": "10.0.0.1",
        "POLICY_PORT_80_TCP_PORT": "80",
        "POLICY_PORT_80_TCP_PROTO": "tcp",
        "CONSOLE_API_PORT_53_UDP": "udp://10.0.0.1:53",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/etc/ssl/roots.pem",
        "GRPC_GO_LOG_SEVERITY_LEVEL": "info",
        "PATH": "/bin",
        "HOSTNAME": "exchanger",
        "LOG_DIR": "/var/log",
        "OTEL_LOGS_EXPORTER": "none",
    }
    assert read_settings({**environment(tmp_path), **others}).without_effect == ()


def test_a_start_that_is_refused_says_which_name_was_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_settings({"POLICY_SOURCE": "directory", "POLICY_DIRECTROY": "/canary"})
    assert "POLICY_DIRECTROY: there is no such variable; did you mean POLICY_DIRECTORY?" in raised.value.problems


class Told:
    """What a source says is suspicious, state by state."""

    def __init__(self) -> None:
        self.states: list[Notices] = []

    def __call__(self, notices: Notices) -> None:
        self.states.append(notices)

    def says(self, *words: str) -> bool:
        return any(all(word in str(notice) for word in words) for notice in self.states[-1].listed)


async def test_a_cluster_that_protects_nothing_is_warned_about(autojump_clock: trio.testing.MockClock) -> None:
    cluster, record, told = Cluster(), Record(), Told()
    followed = source(cluster, record)
    followed.on_notices = told
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        assert told.says("policy is not active: nothing is selected", "enabled in (true)", "policy in (enabled)")

        cluster.put("unlabelled", "orders")  # no version comes of it, and a warning does
        await trio.sleep(1)
        assert told.says("ConfigMap unlabelled/orders", "Namespace unlabelled", "policy in (enabled)")
        assert len(record.snapshots) == 1

        cluster.put_namespace("unlabelled")
        await trio.sleep(1)
        assert told.states[-1] == Notices()

        cluster.put_namespace("other")
        cluster.put("other", "payments")
        await trio.sleep(1)
        for name, namespace in (("orders", "unlabelled"), ("payments", "other")):
            cluster.delete(namespace, name)
        await trio.sleep(1)
        assert told.says("2 that were active are gone")
        nursery.cancel_scope.cancel()


async def test_a_thousand_forgotten_labels_are_twenty_warnings_and_a_number(autojump_clock: trio.testing.MockClock) -> None:
    cluster, told = Cluster(), Told()
    for number in range(1000):
        cluster.put(f"team-{number:04}", "orders")
    followed = source(cluster, Record())
    followed.on_notices = told
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        nursery.cancel_scope.cancel()
    assert (len(told.states[-1].listed), told.states[-1].more) == (20, 981)
