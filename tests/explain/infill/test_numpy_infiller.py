"""A user's NumPy function: what it is called with, and what is said of what it returns."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.explain.infill import Infiller, NumpyInfiller, check_infiller

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
MASK = jnp.asarray(np.random.default_rng(1).random((3, 2)) < 0.5)


def seeded(x, mask, seeds):
    return np.stack([np.random.default_rng(seed).normal(size=x.shape[1:]) for seed in seeds])


def test_there_is_one_call_for_a_batch_and_nothing_hidden_is_shown():
    calls = []

    def watched(x, mask, seeds):
        assert type(x) is type(mask) is type(seeds) is np.ndarray
        assert mask.dtype == bool
        assert seeds.dtype == np.uint32
        assert not x[~mask].any()
        calls.append((x.shape, len(set(seeds.tolist()))))
        x[:] = 7.0  # is the function's own
        return x

    infiller = NumpyInfiller(watched)

    @eqx.filter_jit
    def fill(examples, keys):
        def one(x, key):
            return infiller.sample(x, MASK, key=key, n_samples=5)

        return jax.vmap(one)(examples, keys)

    found = np.asarray(fill(jnp.asarray(X), jax.random.split(KEY, 4)))
    assert calls == [((20, 3, 2), 20)]
    kept = np.broadcast_to(np.asarray(MASK), found.shape)
    np.testing.assert_array_equal(found[kept], np.broadcast_to(X[:, None], found.shape)[kept])
    np.testing.assert_array_equal(found[~kept], 7.0)


def test_draws_depend_on_the_key_alone_and_the_test_of_infillers_passes():
    infiller = NumpyInfiller(seeded)
    assert isinstance(infiller, Infiller)
    check_infiller(infiller, X, key=KEY, n_masks=2)
    x = jnp.asarray(X[0])
    first, again = (np.asarray(infiller.sample(x, MASK, key=KEY, n_samples=2)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()


def test_one_that_leaks_is_given_what_is_hidden_when_it_says_so():
    def same(x, mask, seeds):
        return x

    x = jnp.asarray(X[0], jnp.bfloat16)
    leaking = NumpyInfiller(same, conditional=False, leaks=True)
    found = leaking.sample(x, MASK, key=KEY, n_samples=1)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found[0], np.float32), np.asarray(x, np.float32))
    hidden = ~np.asarray(MASK)
    assert not np.asarray(NumpyInfiller(same).sample(x, MASK, key=KEY, n_samples=1))[0][hidden].any()


def failing(x, mask, seeds):
    raise KeyError("no such layer")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (failing, "infill function failing, called with x.* raised KeyError: 'no such layer' (.*in failing)"),
        (lambda x, mask, seeds: x[:, 0], "must return an array of x's shape (2, 3, 2), got (2, 2)"),
        (lambda x, mask, seeds: x / np.where(mask, 1, 0), "returned nan at .*, which is hidden"),
        (lambda x, mask, seeds: x.astype(str), "must return real numbers, got <U32"),
    ],
)
def test_what_a_function_does_wrong_is_named(function, message):
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with np.errstate(all="ignore"), pytest.raises(Exception, match=pattern):
        NumpyInfiller(function).sample(jnp.asarray(X[0]), MASK, key=KEY, n_samples=2)
