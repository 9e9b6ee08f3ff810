"""Each test here runs on a GPU, where there is one, and on the CPU, so that its own code is known to run."""

import pytest


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """The device that is held against the CPU."""
    return request.param
