import jax
import pytest


@pytest.fixture(autouse=True)
def plain_code():
    """Recipes are tried at sizes at which compiling is nearly all of the work."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
