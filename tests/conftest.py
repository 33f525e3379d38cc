"""What holds for every test: no network, two threads, repeatable examples, shapes checked.

All of it must be in place before torch, huggingface-hub or a `regard` module is imported, and none
of it imports torch: a test that does not need torch does not pay for it.
"""

import gc
import os
from typing import Any

import pytest
from beartype import beartype
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Torch takes its thread count from here. More threads than cores make small operations crawl, and
# sums in another order change the last bits that parity tests compare. Several test processes
# (pytest -n) have one thread each, whatever they inherit from the process that started them.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
else:
    os.environ.setdefault("OMP_NUM_THREADS", "2")

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def checked(function):
    """Check the arguments and the result against the annotations, other than `Self`.

    Beartype refuses `Self` on a method that is decorated by itself, as jaxtyping's hook does it.
    """
    hints = function.__annotations__
    function.__annotations__ = {n: Any if "Self" in repr(h) else h for n, h in hints.items()}
    return beartype(function)


def pytest_collection_finish():
    """What is imported stays: a search for garbage need not go through all of it each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give all of a file to one process (pytest -n): what its tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


# Shapes in annotations, such as Float[Tensor, "tokens width"], are checked here and only here.
install_import_hook(["regard.batch", "regard.attention", "regard.layers"], f"{__name__}.checked")
