"""What the tests of this room share."""

import pytest
import trustme


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that clients may be told to trust."""
    return trustme.CA()
