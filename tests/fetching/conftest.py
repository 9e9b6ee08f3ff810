from collections.abc import Iterator

import pytest

from lmmrec_core.fetching.client import Manners, PoliteClient
from tests.fetching.server import Server, running


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def client() -> Iterator[PoliteClient]:
    """A client that waits for little."""
    with PoliteClient(Manners(stall=0.5, first_wait=0.01, longest_wait=3.0, attempts=3)) as client:
        yield client
