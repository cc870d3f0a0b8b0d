"""So many at once, then one in each interval, whatever happened before."""

from exchanger.kube.token_bucket import TokenBucket


def taken(bucket: TokenBucket, now: float) -> int:
    """Take all that is there at ``now``."""
    count = 0
    while bucket.ready_at() <= now:
        bucket.take(now)
        count += 1
    return count


def test_a_burst_and_then_one_an_interval() -> None:
    bucket = TokenBucket(3, 10.0)
    assert taken(bucket, 5.0) == 3
    assert bucket.ready_at() == 15.0
    assert taken(bucket, 14.9) == 0
    assert taken(bucket, 15.0) == 1
    assert taken(bucket, 35.0) == 2


def test_it_never_holds_more_than_a_burst() -> None:
    bucket = TokenBucket(3, 10.0)
    taken(bucket, 0.0)
    assert not bucket.is_full(29.9)
    assert bucket.is_full(30.0)
    assert taken(bucket, 10_000.0) == 3
