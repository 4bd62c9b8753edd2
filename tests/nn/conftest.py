import jax
import pytest


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=[False, True], ids=["inference", "training"])
def training(request):
    return request.param
