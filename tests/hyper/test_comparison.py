import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

from backthrough.core import ArgumentError
from backthrough.hyper import (
    CG,
    Direct,
    GlobalHypernet,
    HyperSpace,
    Implicit,
    LocalHypernet,
    Neumann,
    Problem,
    RandomSearch,
    Real,
    Unroll,
    compare,
)
from backthrough.hyper.evaluations import train_evaluations
from oracles.ridge_response import FEATURES, response, train_loss, valid_loss

SPACE = HyperSpace(decay=Real(1e-3, 10.0, log=True))
START = jnp.zeros(FEATURES)


def run(strategies, seconds=0.4, space=SPACE, **options):
    return compare(
        train_loss,
        valid_loss,
        START,
        space,
        strategies=strategies,
        seconds=seconds,
        key=jax.random.key(0),
        **options,
    )


@pytest.fixture(scope="module")
def found():
    strategies = {
        "hypernetwork": LocalHypernet(learning_rate=0.05),
        "random": RandomSearch(trial_steps=300, learning_rate=0.05),
        "too fast": LocalHypernet(learning_rate=optax.sgd(1e3)),
    }
    return run(strategies, test_loss=lambda w: jnp.sum(w**2))


def test_each_takes_its_time(found):
    assert found.is_search == (False, True, False)
    assert 0.39 < found.seconds[0] < 1.0
    assert found.seconds[1] < 1.0
    assert (found.seconds_compiling > 0).all()
    assert found.evaluations[:2] == (2 * found.counts[0], 300 * found.counts[1])


def test_losses_are_of_the_parameters_returned(found):
    for i in (0, 1):
        w = np.asarray(found.params[i], np.float64)
        np.testing.assert_allclose(found.valid_loss[i], valid_loss(w), rtol=1e-4)
        np.testing.assert_allclose(found.test_loss[i], np.sum(w**2), rtol=1e-4)
    exact = response(found.u[1, 0])
    np.testing.assert_allclose(found.params[1], exact, atol=1e-3)


def test_what_diverges_is_noted_and_comes_last(found):
    assert np.isnan(found.valid_loss[2])
    assert found.notes[0].startswith("too fast: ")
    assert "in step" in found.notes[0]
    assert found.table().index[-1] == "too fast"


def test_table_and_curves(found):
    table = found.table()
    assert list(table["valid loss"][:2]) == sorted(table["valid loss"][:2])
    assert table.loc["random", "steps or trials"].endswith(" trials")
    for curve in found.curves:
        assert (np.diff(curve[:, 0]) > 0).all()
    np.testing.assert_allclose(found.curves[1][-1, 1], found.valid_loss[1], rtol=1e-5)
    axes = found.plot(Figure().subplots())
    assert len(axes.lines) == 3


@pytest.mark.parametrize(
    ("strategies", "space", "words"),
    [
        ({}, SPACE, "strategies must be a mapping"),
        ({"a": LocalHypernet}, SPACE, "a must be an engine such as LocalHypernet"),
        ({"a": RandomSearch()}, HyperSpace(decay=Real(0.1)), "a: a search needs two bounds"),
        (
            {"a": Implicit()},
            HyperSpace(decay=Real(0.1, 1.0), other=Real(0.0, 1.0)),
            "a: other does not change the training loss",
        ),
    ],
)
def test_wrong_use(strategies, space, words):
    with pytest.raises(ArgumentError, match=words):
        run(strategies, space=space)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (LocalHypernet(n_samples=4, train_steps=3), 100 * 12),
        (GlobalHypernet(n_samples=7), 10 * 7),
        (Unroll(5), 10 * 5 + 90 * 15),
        (Implicit(CG(20), train_steps=2), 100 * 2 + 90 * (3 + 21)),
        (Implicit(Neumann(10)), 100 + 90 * (3 + 10 + 3)),
        (Implicit(Direct()), 100 + 90 * (3 + FEATURES)),
    ],
)
def test_gradients_are_counted(engine, expected):
    problem = Problem(train_loss, valid_loss, START, SPACE)
    assert train_evaluations(engine, problem, n_steps=100, warm_up=10) == expected
