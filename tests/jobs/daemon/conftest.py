import pytest

from tests.support.evenings import Daemons


@pytest.fixture(scope="session")
def daemons():
    made = Daemons()
    yield made
    made.close()
