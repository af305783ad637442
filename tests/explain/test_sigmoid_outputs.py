"""Models with several labels, each of which is there or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.adapt import JaxModel, NumpyModel
from backthrough.explain.problem import make_problem

WEIGHTS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)


def test_the_score_is_the_label_s_own_logit():
    problem = make_problem(JaxModel(lambda x: x @ WEIGHTS, outputs="sigmoid"), X, 2)
    logit = (X @ WEIGHTS)[:, 2]
    found = jax.vmap(problem.score)(problem.x, problem.target)
    np.testing.assert_allclose(found, logit, rtol=1e-5)
    p = 1 / (1 + np.exp(-logit.astype(float)))
    np.testing.assert_allclose(found, np.log(p) - np.log1p(-p), rtol=1e-4)
    assert problem.score.limit == np.inf


def test_one_label_is_enough():
    for model in (
        JaxModel(lambda x: (x @ WEIGHTS)[:1], outputs="sigmoid"),
        NumpyModel(lambda rows: (rows @ WEIGHTS)[:, :1], outputs="sigmoid"),
    ):
        problem = make_problem(model, X, None)
        np.testing.assert_allclose(
            jax.vmap(problem.score)(problem.x, problem.target), (X @ WEIGHTS)[:, 0], rtol=1e-5
        )


def test_probabilities_are_no_logits():
    with pytest.raises(ArgumentError, match="before its sigmoid"):
        make_problem(JaxModel(lambda x: jax.nn.sigmoid(jnp.asarray(x @ WEIGHTS)), outputs="sigmoid"), X, 0)


def test_one_logit_names_the_cure():
    with pytest.raises(ArgumentError, match="outputs='sigmoid'"):
        make_problem(lambda x: (x @ WEIGHTS)[:1], X, 0)
