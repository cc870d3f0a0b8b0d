"""What scenarios are run on."""

from pathlib import Path

from exchanger.demo.ground import ground_of, ground_with_token
from exchanger.demo.scenario import Subject
from exchanger.demo.site import Site, make_subjects

SITE = Site(envoy_port=1, grpc_port=2, metrics_port=3, token_port=4, upstream_port=5, policy=Path("/p"), subjects=make_subjects())


def test_a_demo_is_a_ground_where_everything_can_be_seen() -> None:
    ground = ground_of(SITE)
    assert ground.gateway.base_url == "http://127.0.0.1:1"
    assert (ground.stats, ground.policy, ground.lenient) == (("127.0.0.1", 4), Path("/p"), False)
    assert ground.subjects(Subject.VALID) == SITE.subjects.valid
    assert ground.made == {Subject.NONE, Subject.VALID, Subject.EXPIRED}
    assert ground.fresh is not None
    assert ground.fresh("bob").valid != SITE.subjects.valid


def test_a_token_of_ones_own_is_that_of_every_subject_but_none() -> None:
    ground = ground_with_token(ground_of(SITE), "own-token")
    assert {subject: ground.subjects(subject) for subject in Subject} == {
        subject: "" if subject is Subject.NONE else "own-token" for subject in Subject
    }
    assert ground.made == {Subject.NONE, Subject.VALID}
    assert ground.lenient
    assert ground.fresh is None


def test_tokens_are_in_no_repr() -> None:
    for ground in (ground_of(SITE), ground_with_token(ground_of(SITE), "own-token")):
        assert SITE.subjects.valid not in repr(ground)
        assert "own-token" not in repr(ground)
