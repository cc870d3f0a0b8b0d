"""Strategies for whole policies with an operator's rules, and for requests to them."""

import attrs
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.authz.decision.answer import asked_request
from exchanger.authz.decision.check import DecisionRules
from exchanger.commands.policies import AssembledPolicy
from exchanger.model.entry import BASELINE, DenyEntry
from exchanger.model.issuer import AuthMethod, Credentials, Issuer
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from tests.policy.examples import EVERYTHING_GRANTED
from tests.property.policy_model import METHODS
from tests.property.strategies_policy import (
    ISSUERS,
    fail_closed_matches,
    header_fields,
    hosts,
    odd_paths,
    plain_paths,
    policies,
    policy_hosts,
    prefixes,
    queries,
    rarely,
    reaches,
)


def issuer(name: str) -> Issuer:
    return Issuer(name, f"https://{name}.example/token", f"{name}.example", AuthMethod.CLIENT_SECRET_BASIC, Credentials("c", Secret("s")))


RULES = DecisionRules(HashTrieMap({name: issuer(name) for name in ISSUERS}))


def policy_of(
    documents: list[PolicyDocument],
    reach: UnreadableReach = UnreadableReach.UNMATCHED,
    baseline: tuple[DenyEntry, ...] = (),
    required: bool = False,
    grants: Grants | None = None,
) -> AssembledPolicy:
    """Return the policy of ``documents`` as a service publishes it; without ``grants``, each namespace is granted everything."""
    snapshot = PolicySnapshot.EMPTY.with_grants(grants or attrs.evolve(EVERYTHING_GRANTED, baseline=baseline))
    snapshot = snapshot.changed({document.source: document for document in documents})
    current = CurrentPolicy(required=required, reach=reach)
    current.publish(snapshot)
    assert current.newest is not None
    return AssembledPolicy(current.snapshot, current.newest, RULES)


baselines = rarely(
    st.lists(fail_closed_matches, min_size=1, max_size=2).map(
        lambda scopes: tuple(DenyEntry(BASELINE, at, scope) for at, scope in enumerate(scopes))
    ),
    st.just(()),
    one_in=5,
)
EVERY_ACTION = frozenset({"allow", "deny", "exchange"})
some_grants = st.lists(
    st.builds(
        NamespaceGrant,
        st.frozensets(st.sampled_from(["red", "blue"]), min_size=1),
        st.none(),
        st.lists(policy_hosts | st.just("*"), min_size=1, max_size=2).map(tuple),
        st.just(("",)) | st.lists(st.sampled_from(["/a", "/a/b", "/b", "/aa"]), min_size=1, max_size=2).map(tuple),
        rarely(st.frozensets(st.sampled_from(sorted(EVERY_ACTION)), min_size=1), st.just(EVERY_ACTION), one_in=3),
        rarely(st.just(("primary",)), st.just(("*",)), one_in=3),
        scopes=rarely(st.just(("r",)), st.just(("*",)), one_in=3),
    ),
    min_size=1,
    max_size=3,
).map(lambda grants: Grants(tuple(grants)))
requests: st.SearchStrategy[HttpRequest] = st.builds(
    asked_request,
    st.sampled_from([*METHODS, "OPTIONS", "get"]),
    rarely(st.sampled_from(["unheard.of", "", "a,b", "y.b.example"]), hosts, one_in=4),
    rarely(odd_paths | st.just("*"), st.builds(lambda path, query: path + query, plain_paths | prefixes, queries), one_in=3),
    header_fields.map(lambda fields: [*fields, ("authorization", "Bearer t")]),
    raw=st.booleans(),
)
whole_policies = st.builds(policy_of, policies, reaches, baselines, rarely(st.just(value=True), st.just(value=False)))
