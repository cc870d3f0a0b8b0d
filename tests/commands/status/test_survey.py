"""A survey sees what the service would see: the same objects, read the same way."""

from typing import Any

import attrs
import pytest
import trio.testing

from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.status.survey import NearMisses, Survey, survey
from exchanger.model.codes.manifests import CONFLICT
from exchanger.model.codes.policy import MISSING_FIELD
from exchanger.model.entry import Source
from exchanger.model.notice import Notice
from exchanger.model.selector import parse_selector
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.selection import AnyIssuer, ConfigMap, Namespace
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Item, Key, Page
from exchanger.sources.kube.listing import ATTEMPTS, Unanswered, UnreadableNamespace
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.store import PAGE_SIZE
from tests.sources.kube.cluster import SELECTED, Cluster, deny
from tests.sources.kube.fake_api_server import FakeListWatch, FakeVersions, Verb

FEW = 2 * PAGE_SIZE
SETTINGS = KubernetesSettings(parse_selector("policy=enabled"), parse_selector("enabled"))
NAMED = KubernetesSettings(parse_selector("policy=enabled"), parse_selector("enabled"), ("a", "b"))
EXCHANGE = "version: v1\nentries: [{match: {host: h, pathPrefix: /x}, action: exchange, exchange: {issuerRef: primary, scope: s}}]"
NO_RIGHT = ApiFailure(FailureKind.FORBIDDEN, 403, 'configmaps is forbidden: User "x" cannot list resource "configmaps" in API group ""')


def rules_of(issuers: frozenset[str] | None = None, grants: Grants = NO_GRANTS) -> PolicyRules:
    return PolicyRules(SETTINGS.namespace_selector, SETTINGS.configmap_selector, AnyIssuer() if issuers is None else issuers, grants)


async def look(cluster: Cluster, settings: KubernetesSettings = SETTINGS, issuers: frozenset[str] | None = None) -> Survey:
    found = await survey(cluster, settings, rules_of(issuers))
    assert isinstance(found, Survey)
    return found


async def test_an_empty_cluster_has_no_problem_and_is_not_healthy(autojump_clock: trio.testing.MockClock) -> None:
    found = await look(Cluster())
    assert (found.namespaces, found.policies, found.entries, found.problems) == ((), (), 0, 0)
    assert [notice.text for notice in found.notices.listed if notice.subject == "policy"]
    assert not found.healthy


async def test_a_valid_entry_that_check_warns_of_is_a_probable_mistake(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    deny_slash = "{match: {host: h, pathPrefix: /admin/, methods: [DELTE]}, action: deny}"
    cluster.put(
        "a", "p", f"version: v1\nentries:\n- {deny_slash}\n- {deny_slash.replace('h,', 'i,')} # exchanger: ignore POL-1904, POL-2110\n"
    )
    found = await look(cluster)
    codes = [notice.code.name for notice in found.notices.listed if notice.code is not None]
    assert (codes, found.problems, found.healthy) == (["POL-1904", "POL-2110"], 0, False)
    assert found.notices.listed[0].text.startswith("at line 3: entries[0].match.methods")


async def test_what_was_meant_to_be_policy_is_found_among_all_objects(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    cluster.put_namespace("b", {"polcy": "enabled"})
    cluster.put_namespace("c", {"policy": "disabled"})
    cluster.put_namespace("d", {})
    cluster.put("a", "p")
    cluster.put("a", "q", labels={"enable": "true"})
    cluster.put("a", "r", labels={})
    cluster.put("a", "s", "not: ours", labels={"app": "x"})
    for namespace in "bcd":
        cluster.put(namespace, "p")
    found = await look(cluster)
    assert [notice.subject for notice in found.notices.listed] == [
        "ConfigMap b/p",
        "ConfigMap d/p",
        "Namespace b",
        "ConfigMap a/q",
        "ConfigMap a/r",
    ]
    assert (found.healthy, found.gaps) == (False, ())
    assert found.ignored == (Source("b", "p"), Source("c", "p"), Source("d", "p"))


async def test_what_is_in_order_is_healthy(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    cluster.put("a", "p")
    known = Notice("variable X", "there is no such variable", "see")
    assert (await look(cluster)).healthy
    told = await survey(cluster, SETTINGS, rules_of(), (known,))
    assert isinstance(told, Survey)
    assert (told.healthy, told.notices.listed) == (False, (known,))


async def test_a_right_that_only_the_search_needs_is_no_failure(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    cluster.put("a", "p")
    found = await survey(Forbidding(cluster), SETTINGS, rules_of())
    assert isinstance(found, Survey)
    assert (found.healthy, found.gaps) == (True, ("needs list on configmaps in every namespace",))


@attrs.frozen
class Forbidding:
    """Lets what is selected be listed, and not all ConfigMaps."""

    cluster: Cluster

    def namespaces(self, selector: str, /) -> FakeListWatch[Namespace]:
        return self.cluster.namespaces(selector)

    def config_maps(self, selector: str, namespace: str, /) -> FakeListWatch[ConfigMap]:
        if not selector:
            self.cluster.server.fail(NO_RIGHT, resource="configmaps")
        return self.cluster.config_maps(selector, namespace)

    def config_map_versions(self, selector: str, /) -> FakeVersions:
        return self.cluster.config_map_versions(selector)

    def config_map(self, selector: str, namespace: str, name: str, /) -> FakeListWatch[ConfigMap]:
        return self.cluster.config_map(selector, namespace, name)


@pytest.mark.parametrize(("count", "gaps"), [(FEW, ()), (FEW + 1, (f"configmaps beyond the first {FEW}",))])
async def test_the_search_is_bounded(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, count: int, gaps: tuple[str, ...]
) -> None:
    monkeypatch.setattr("exchanger.commands.status.survey.MAX_OBJECTS", FEW)
    near = NearMisses()
    await near.look(Many(count), SETTINGS)
    assert tuple(near.gaps) == gaps


async def test_the_search_takes_no_longer_than_somebody_waits(autojump_clock: trio.testing.MockClock) -> None:
    near = NearMisses()
    await near.look(Many(10, delay=3600), SETTINGS)
    assert near.gaps == ["what could not be listed within 30 s"]


@attrs.frozen
class Many:
    """So many ConfigMaps of nobody's, in pages; each page takes ``delay`` seconds."""

    count: int
    delay: float = 0.0
    name: str = "configmaps"

    def namespaces(self, _selector: str, /) -> "Many":
        return Many(0)

    def config_maps(self, _selector: str, _namespace: str, /) -> "Many":
        return self

    def config_map_versions(self, _selector: str, /) -> "Many":
        return self

    def config_map(self, _selector: str, _namespace: str, _name: str, /) -> "Many":
        return self

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[Any]:
        await trio.sleep(self.delay)
        start = int(continue_token or 0)
        end = min(start + limit, self.count)
        items = tuple(Item(Key("a", "b"), "1", ConfigMap("a", "b", (), None)) for _ in range(start, end))
        return Page(items, "1", str(end) if end < self.count else "")

    def watch(self, **_arguments: object) -> Any:
        raise AssertionError


async def test_a_server_that_obeys_no_selector_makes_no_difference(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster(obeys=False)
    cluster.put_namespace("a")
    cluster.put_namespace("b", {})
    cluster.put("a", "p", deny("/p"))
    cluster.put("a", "q", deny("/q"), labels={})
    cluster.put("b", "p", deny("/r"))
    found = await look(cluster)
    assert found.namespaces == ("a",)
    assert [str(policy.source) for policy in found.policies] == ["a/p"]
    assert found.ignored == (Source("b", "p"),)


async def test_problems_have_their_places(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    cluster.put("a", "p", "version: v1\nentries:\n- {match: {host: h, pathPrefix: /x}, action: deny}\n- {action: deny}")
    cluster.put("a", "q", deny("/x"))
    first, second = (await look(cluster)).policies
    assert [(problem.entry, problem.line) for problem in first.problems] == [(0, 3), (1, 4)]
    assert first.problems[0].remedy == CONFLICT.remedy
    assert first.problems[1].remedy == MISSING_FIELD.remedy
    assert "pathPrefix with a/q entries[0]" in first.problems[0].reason
    assert "match is required" in first.problems[1].reason
    assert (first.entries, len(second.problems)) == (1, 1)


async def test_references_are_checked_only_where_profiles_are_known(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    cluster.put("a", "p", EXCHANGE)
    assert (await look(cluster)).problems == 0
    assert (await look(cluster, issuers=frozenset({"primary"}))).problems == 0
    assert (await look(cluster, issuers=frozenset({"second"}))).problems == 1


async def test_named_namespaces_are_asked_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a", {})
    cluster.put_namespace("c")
    for name in "abc":
        cluster.put(name, "p", deny(f"/{name}"))
    found = await look(cluster, NAMED)
    assert found.namespaces == ("a", "b")
    assert [str(policy.source) for policy in found.policies] == ["a/p", "b/p"]
    assert cluster.asked == ["configmaps enabled in a", "configmaps enabled in b", "configmaps  in a", "configmaps  in b"]


async def test_a_missing_right_is_named(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.server.fail(NO_RIGHT, resource="configmaps")
    right = "needs list on configmaps in every namespace"
    assert await survey(cluster, SETTINGS, rules_of()) == Unanswered(f"a right is missing: {right}", right)


async def test_unreadable_namespace_is_named_beside_the_readable_ones(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put("b", "p", deny("/b"))
    cluster.server.forbid("a")
    found = await look(cluster, NAMED)
    assert found.unreadable == (UnreadableNamespace("a", "needs list on configmaps in the namespace a"),)
    assert [str(policy.source) for policy in found.policies] == ["b/p"]
    assert found.problems == 1
    cluster.server.forbid("b")
    assert isinstance(await survey(cluster, NAMED, rules_of()), Unanswered)


async def test_an_unreachable_server_is_no_survey(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.server.stop()
    assert await survey(cluster, SETTINGS, rules_of()) == Unanswered("namespaces cannot be listed (unreachable): connection refused")


async def test_a_version_that_goes_away_is_listed_anew(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    cluster.server.fail(ApiFailure(FailureKind.GONE, 410), verb=Verb.LIST, times=ATTEMPTS - 1)
    assert (await look(cluster)).namespaces == ("a",)
    cluster.server.fail_for_ever(ApiFailure(FailureKind.GONE, 410), verb=Verb.LIST)
    assert await survey(cluster, SETTINGS, rules_of()) == Unanswered("namespaces cannot be listed (gone)")


GRANTS = """
version: v1
grants:
- {namespaces: [a], hosts: [h, "{label:team}.example.com"], pathPrefixes: [/x], issuers: ["*"], scopes: ["*"]}
- {namespaceSelector: team=orders, hosts: [o]}
"""
TWO_HOSTS = "version: v1\nentries:\n- {match: {host: h, pathPrefix: /x}, action: deny}\n- {match: {host: z, pathPrefix: /}, action: deny}"


async def granted(cluster: Cluster, text: str = GRANTS, *, enforced: bool = True) -> Survey:
    grants = read_grants(text, has_labels=True, enforced=enforced)
    assert isinstance(grants, Grants)
    found = await survey(cluster, SETTINGS, rules_of(grants=grants))
    assert isinstance(found, Survey)
    return found


@pytest.mark.parametrize(("enforced", "entries", "word"), [(True, 1, "entries[1] is outside"), (False, 2, "would be refused: entries[1]")])
async def test_what_is_refused_has_its_place(autojump_clock: trio.testing.MockClock, enforced: bool, entries: int, word: str) -> None:
    cluster = Cluster()
    cluster.put_namespace("a", {**SELECTED, "team": "a"})
    cluster.put("a", "p", TWO_HOSTS)
    found = await granted(cluster, enforced=enforced)
    (policy,) = found.policies
    assert (policy.entries, policy.problems, found.not_granted, found.notices.count, found.healthy) == (entries, (), 1, 0, False)
    assert [(refused.entry, refused.line) for refused in policy.not_granted] == [(1, 4)]
    assert policy.not_granted[0].reason.startswith(word)


async def test_every_namespace_has_its_allowance(autojump_clock: trio.testing.MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("a", {**SELECTED, "team": "orders"})
    cluster.put_namespace("b")
    cluster.put("a", "p", "version: v1\nentries: [{match: {host: h, pathPrefix: /x}, action: deny}]")
    found = await granted(cluster)
    assert [(allowed.namespace, [sorted(granted.hosts) for granted in allowed.granted]) for allowed in found.allowed] == [
        ("a", [["h", "orders.example.com"], ["o"]]),
        ("b", []),
    ]
    assert found.healthy


@pytest.mark.parametrize(
    ("namespaces", "told"),
    [
        pytest.param({"a": {}}, [("Namespace a", "host {label:team}.example.com")], id="a placeholder without its label"),
        pytest.param({"a": {"team": "a"}, "b": {"taem": "x"}}, [("Namespace b", "the label taem is probably meant to be")], id="key"),
        pytest.param({"a": {"team": "a"}, "b": {"team": "Orders"}}, [("Namespace b", "team has another value")], id="a value in capitals"),
        pytest.param({"aa": {}}, [("Namespace aa", "a grant names a, which is probably meant to be aa")], id="the name in the grants file"),
        pytest.param({"a": {"team": "a"}, "b": {"team": "b"}}, [], id="a name next to another one is not a slip"),
    ],
)
async def test_what_slips_past_the_grants_is_told(
    autojump_clock: trio.testing.MockClock, namespaces: dict[str, dict[str, str]], told: list[tuple[str, str]]
) -> None:
    cluster = Cluster()
    for name, labels in namespaces.items():
        cluster.put_namespace(name, {**SELECTED, **labels})
    cluster.put("a", "p", "version: v1\nentries: [{match: {host: h, pathPrefix: /x}, action: deny}]")
    found = [notice for notice in (await granted(cluster)).notices.listed if notice.subject.startswith("Namespace")]
    assert [notice.subject for notice in found] == [subject for subject, _ in told]
    assert all(text in notice.text for notice, (_, text) in zip(found, told, strict=True))
