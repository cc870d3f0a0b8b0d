"""The webhook with a real API server: what authors see when they apply, and what happens when it is away."""

import re
import subprocess
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import pytest

from tests.app.admission.running import CONFIGURATION, CONFIGURATIONS, WEBHOOK, Running, running, warnings
from tests.helm.chart import ROOT, render
from tests.helm.test_admission import ON as BY_CERT_MANAGER
from tests.helm.test_admission import webhooks
from tests.sources.kube.admin import POLICY_LABELS, until
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane
from tests.tools import find_tool

pytestmark = pytest.mark.kubernetes

BROKEN: Final = (
    "version: v1\nentries:\n- {match: {host: api.example.com}, action: dney}\n- {match: {host: api.example.com}, actoin: deny}\n"
)
GUIDE: Final = ROOT / "docs" / "how-to" / "refuse-broken-policies.md"
OK: Final = (httpx.codes.OK, httpx.codes.CREATED)


def deny(path: str = "/a", host: str = "api.example.com") -> str:
    return f"version: v1\nentries: [{{match: {{host: {host}, pathPrefix: {path}}}, action: deny}}]"


@pytest.fixture(scope="module")
def shared(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(control_plane, tmp_path_factory.mktemp("webhook")) as found:
        yield found


@pytest.fixture
def webhook(shared: Running) -> Generator[Running]:
    """The one webhook of most tests, which leave it running and judging."""
    yield shared
    shared.plane.admin.delete("/api/v1/namespaces/team/configmaps")


def message(answer: httpx.Response) -> str:
    text: str = answer.json()["message"]
    return text


def stored(webhook: Running, name: str = "policy") -> bool:
    return webhook.plane.admin.exists(f"/api/v1/namespaces/team/configmaps/{name}")


def test_a_broken_document_is_refused_with_all_problems_in_one_message(webhook: Running) -> None:
    answer = webhook.apply(BROKEN)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    said = message(answer)
    assert f'admission webhook "{WEBHOOK}" denied the request: config.yaml has 4 problems' in said
    assert "line 3" in said
    assert "line 4" in said
    assert "dney" in said
    assert "actoin" in said
    assert not stored(webhook)
    assert webhook.apply("version: v1\nentries: {").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert webhook.apply(None).status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert webhook.apply(deny()).status_code in OK
    until(lambda: "admission.denied" in webhook.lines(), webhook.lines)  # the log is written in batches


def test_what_is_not_selected_is_nobody_s_business(webhook: Running) -> None:
    assert webhook.apply(BROKEN, labels={}).status_code in OK
    webhook.plane.admin.put_namespace("elsewhere", {})
    answer = webhook.apply(BROKEN, team="elsewhere")
    assert answer.status_code in OK
    assert "its Namespace elsewhere is not selected" in warnings(answer)[0]
    webhook.plane.admin.delete_namespace("elsewhere")


@pytest.mark.helm
def test_as_the_chart_registers_it_both_mistakes_with_labels_give_a_warning(webhook: Running) -> None:
    registered = [
        {**one, "clientConfig": webhook.client_config(one["clientConfig"]["service"]["path"])} for one in webhooks(render(BY_CERT_MANAGER))
    ]
    admin = webhook.plane.admin
    admin.merge(f"{CONFIGURATIONS}/{CONFIGURATION}", {"webhooks": registered})
    admin.put_namespace("elsewhere", {})
    try:
        near = {label.replace("enabled", "enabld"): value for label, value in POLICY_LABELS.items()}
        until(lambda: bool(warnings(webhook.apply(deny(), labels=near, dryRun="All"))), webhook.lines)
        (said,) = warnings(webhook.apply(BROKEN, labels=near))
        assert "POL-3102: ConfigMap team/policy is not selected: the label" in said
        (said,) = warnings(webhook.apply(deny(), "bare", labels={}))
        assert "its config.yaml looks like a policy" in said
        (said,) = warnings(webhook.apply(deny(), team="elsewhere"))
        assert "its Namespace elsewhere is not selected" in said
        silent = (
            webhook.apply(deny()),
            webhook.apply("listen: 80", "of-an-application", labels={}),
            webhook.apply(None, "without-a-document", labels={}),
            webhook.apply(deny(), "two-mistakes", labels={}, team="elsewhere"),
        )
        assert [(answer.status_code in OK, warnings(answer)) for answer in silent] == [(True, [])] * 4
        assert webhook.apply(BROKEN, "broken").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    finally:
        webhook.configure()
        admin.delete_namespace("elsewhere")
        until(webhook.checks, webhook.lines)


def test_a_conflict_and_an_unknown_issuer_are_warnings(webhook: Running) -> None:
    webhook.plane.admin.put_namespace("other")
    assert webhook.apply(deny(), team="other").status_code in OK
    until(lambda: bool(warnings(webhook.apply(deny(), dryRun="All"))), webhook.lines)
    answer = webhook.apply(deny())
    assert answer.status_code in OK
    assert "other/policy entries[0]" in warnings(answer)[0]
    unknown = "version: v1\nentries: [{match: {host: b.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: later, scope: a}}]"
    answer = webhook.apply(unknown, "exchanging")
    assert answer.status_code in OK
    assert "later" in warnings(answer)[0]
    webhook.plane.admin.delete_namespace("other")


def test_the_largest_documents_are_checked_whatever_they_are_made_of(webhook: Running) -> None:
    size = 1024 * 1024 - len("config.yaml") - len(deny()) - 3
    for filler in ("#" + "<" * size, "#" + "x" * size):
        assert webhook.apply(f"{deny()}\n{filler}").status_code in OK
    assert webhook.apply(f"{BROKEN}\n#{'<' * 1_000_000}").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    answer = webhook.apply(f"{deny()}\n#{'x' * 1024 * 1024}")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert "webhook" not in message(answer)  # the API server's own limit


def test_without_the_webhook_everything_is_stored_or_nothing_as_the_cluster_wants(webhook: Running) -> None:
    """It ends as it began, with a webhook that runs."""
    assert webhook.stop() == 0
    assert webhook.apply(deny()).status_code == httpx.codes.INTERNAL_SERVER_ERROR
    webhook.configure("Ignore")
    until(lambda: webhook.apply(BROKEN, dryRun="All").is_success)
    assert webhook.apply(BROKEN).status_code in OK
    webhook.start()
    until(lambda: not webhook.apply(deny("/b"), "other", dryRun="All").is_client_error and webhook.is_ready(), webhook.lines)
    assert webhook.apply(BROKEN + "#").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    webhook.configure()
    until(webhook.checks, webhook.lines)


def test_a_certificate_is_replaced_under_load_and_nothing_is_lost(webhook: Running) -> None:
    stop, answers = threading.Event(), list[tuple[bool, int]]()

    def load() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            broken = number % 2 == 1
            answer = webhook.apply(BROKEN if broken else deny(), f"load-{threading.get_ident()}", dryRun="All")
            answers.append((broken, answer.status_code))

    loaded = "tls.certificates_loaded"
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        for rotation in range(3):
            webhook.renew()
            until(lambda rotation=rotation: webhook.lines().count(loaded) >= rotation + 2, webhook.lines)  # type: ignore[misc]
            time.sleep(0.2)
        stop.set()
        for one in loads:
            one.result()
    assert set(answers) == {(False, httpx.codes.CREATED), (True, httpx.codes.UNPROCESSABLE_ENTITY)}
    assert "admission.handler_failed" not in webhook.lines()


def test_it_needs_no_more_than_to_read_namespaces_and_configmaps(webhook: Running) -> None:
    """The account of these tests has nothing else; nothing in the log asks for more."""
    assert "forbidden" not in webhook.lines().lower()


def test_the_guide_shows_what_kubectl_says(webhook: Running) -> None:
    """If the change is meant, copy what is found into the page."""
    webhook.plane.admin.put_namespace("team-orders")
    page = GUIDE.read_text()
    document, output = (re.search(rf"<!-- admission: {name} -->\n```\w+\n(.*?)```", page, re.DOTALL) for name in ("document", "output"))
    assert document
    assert output
    (webhook.folder / "orders.yaml").write_text(document[1])
    kubeconfig = webhook.plane.kubeconfig("admin.yaml", token=ADMIN_TOKEN)
    command = (find_tool("kubectl"), "--kubeconfig", kubeconfig, "apply", "--filename", "orders.yaml")
    done = subprocess.run(command, cwd=webhook.folder, capture_output=True, text=True, check=False, timeout=60)
    assert f"$ kubectl apply --filename orders.yaml\n{done.stderr}" == output[1]
    webhook.plane.admin.delete_namespace("team-orders")
