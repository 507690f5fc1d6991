import pytest

from tests.support.evenings import Daemons


@pytest.fixture(scope="module")
def daemons():
    made = Daemons()
    yield made
    made.close()
