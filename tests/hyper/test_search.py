import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from backthrough.core import ArgumentError
from backthrough.hyper import HyperSpace, OptunaSearch, RandomSearch, Real, search
from backthrough.hyper.blackbox.optuna_search import OptunaProposals
from backthrough.hyper.blackbox.trials import Trials
from backthrough.train import Batches
from oracles.ridge_response import FEATURES, X, Y, response, train_loss, valid_loss

SPACE = HyperSpace(decay=Real(1e-3, 10.0, log=True))
START = jnp.zeros(FEATURES)
QUICK = RandomSearch(trial_steps=300, learning_rate=0.05)


def run(strategy=QUICK, space=SPACE, seed=0, n_trials=6, **options):
    return search(
        train_loss,
        valid_loss,
        START,
        space,
        strategy=strategy,
        key=jax.random.key(seed),
        n_trials=n_trials,
        **options,
    )


@pytest.fixture(scope="module")
def found():
    return run()


def test_the_best_trial_is_the_smallest_of_the_history(found):
    losses = found.history["valid loss"]
    assert found.valid_loss == losses.min()
    assert list(found.history["best"]) == list(losses.cummin())
    assert found.history["seconds"].is_monotonic_increasing
    assert (found.n_trials, found.train_evaluations) == (6, 1800)
    assert found.notes == ()


def test_a_trial_reaches_the_closed_form_of_its_penalty(found):
    exact = response(np.log(found.hyper["decay"]))
    np.testing.assert_allclose(found.params, exact, atol=2e-4)
    np.testing.assert_allclose(found.valid_loss, valid_loss(exact), rtol=1e-3)


def test_the_key_determines_every_bit(found):
    again, other = run(), run(seed=1)
    assert np.array_equal(found.u, again.u)
    assert np.array_equal(found.params, again.params)
    assert list(found.history["valid loss"]) == list(again.history["valid loss"])
    assert not np.array_equal(found.u, other.u)


def test_seconds_end_a_search():
    found = run(n_trials=None, seconds=0.3)
    assert found.n_trials > 1
    assert found.history["seconds"].iloc[-2] < 0.3


def test_a_trial_that_is_not_finite_is_the_worst_and_is_noted():
    def broken(w, hyper):
        return train_loss(w, hyper) * jnp.where(hyper["decay"] > 0.2, jnp.nan, 1.0)

    found = search(broken, valid_loss, START, SPACE, strategy=QUICK, key=jax.random.key(0), n_trials=8)
    n_bad = int(np.isinf(found.history["valid loss"]).sum())
    assert 0 < n_bad < 8
    assert found.hyper["decay"] < 0.2
    assert f"{n_bad} of 8 trials" in found.notes[0]


def test_no_finite_trial_is_an_error():
    with pytest.raises(ArgumentError, match="none of 6 trials is finite: lower the learning rate"):
        run(RandomSearch(trial_steps=300, learning_rate=optax.sgd(1e3)))


def test_what_belongs_to_the_optimiser_can_be_searched():
    space = HyperSpace(rate=Real(1e-4, 0.3, log=True))
    strategy = RandomSearch(trial_steps=30, learning_rate=lambda hyper: optax.sgd(hyper["rate"]))
    found = search(
        lambda w, hyper: jnp.mean((X @ w - Y) ** 2),
        valid_loss,
        START,
        space,
        strategy=strategy,
        key=jax.random.key(0),
        n_trials=6,
    )
    assert found.history["valid loss"].nunique() == 6


def test_every_trial_sees_the_same_batches():
    batches = Batches((X, Y), 6, seed=0)
    found, again = (
        search(
            lambda w, hyper, batch: jnp.mean((batch[0] @ w - batch[1]) ** 2) + hyper["decay"] * jnp.sum(w**2),
            valid_loss,
            START,
            SPACE,
            strategy=QUICK,
            key=jax.random.key(0),
            n_trials=3,
            train_batches=batches,
        )
        for _ in range(2)
    )
    assert list(found.history["valid loss"]) == list(again.history["valid loss"])
    exact = response(np.log(found.hyper["decay"]))
    np.testing.assert_allclose(found.params, exact, atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_trials": None}, "give n_trials or seconds"),
        ({"space": HyperSpace(decay=Real(1e-3, log=True))}, "a search needs two bounds .* decay"),
        ({"strategy": RandomSearch}, "must be a search such as RandomSearch()"),
        ({"n_trials": 0}, "n_trials must be at least 1"),
        ({"space": HyperSpace(decay=Real(0.1, 1.0), other=Real(0.0, 1.0))}, "other does not change"),
    ],
)
def test_wrong_use(options, words):
    with pytest.raises(ArgumentError, match=words):
        run(**options)


def test_what_optuna_needs_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"optuna and torch and scipy.*backthrough\[search,torch\]"):
        OptunaSearch("gp")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", pytest.param("gp", marks=pytest.mark.slow)])
def test_optuna(sampler, capfd, monkeypatch):
    optuna = pytest.importorskip("optuna")
    needs = {"tpe": "optuna", "cmaes": "cmaes", "gp": "torch"}
    pytest.importorskip(needs[sampler])
    monkeypatch.setattr(Trials, "run", lambda self, u, key: made(u))
    monkeypatch.setattr(Trials, "__init__", lambda self, *own: setattr(self, "seconds_compiling", 0.0))

    def made(u):
        from backthrough.hyper.blackbox.trials import Trial

        value = jnp.nan if u[0] > 2 else jnp.sum((u + 1) ** 2)
        return Trial(START, value, value)

    before = optuna.logging.get_verbosity()
    found, again = run(OptunaSearch(sampler), n_trials=12), run(OptunaSearch(sampler), n_trials=12)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
    assert list(found.history["valid loss"]) == list(again.history["valid loss"])
    low, high = np.log([1e-3, 10.0])
    assert low - 1e-5 <= found.u[0] <= high + 1e-5
    assert abs(found.u[0] + 1) < 1


def test_optuna_proposes_between_the_bounds():
    pytest.importorskip("optuna")
    bound = HyperSpace(a=Real(1e-3, 10.0, log=True), b=Real(0.0, 1.0, shape=(3,))).bind(START)
    proposals = OptunaProposals(bound, "tpe", 0)
    for _ in range(15):
        u = proposals.ask()
        assert u.shape == (4,)
        assert ((bound.box[0] <= u) & (u <= bound.box[1])).all()
        proposals.tell(float(np.sum(u**2)))
    assert len(proposals.study.trials) == 15
