import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from backthrough.core import ArgumentError, DataError
from backthrough.estimators import LeaveOneOut
from backthrough.explain import (
    PUBLISHED,
    Columns,
    Grid,
    JaxModel,
    NumpyModel,
    Pixels,
    Positions,
    Search,
    Superpixels,
    explain,
)
from backthrough.explain.infill import Blur, Constant, GaussianConditional

KEY = jax.random.key(0)
BRIEF = Search(n_steps=20, n_samples=4, n_rounds=24, n_proposals=8, bounded=False)
WEIGHTS = np.array([2.0, -1.0, 0.6, 3.0, 0.0, -2.5], np.float32)
X = np.array([[1, 1, 1, 1, 1, 1], [1.5, -2, 0.5, 0.2, 3, 0.1]], np.float32)


class Linear(eqx.Module):
    weights: jax.Array

    def __call__(self, x):
        return jnp.stack([jnp.zeros(()), jnp.sum(self.weights * x) - 0.3])


LINEAR = Linear(jnp.asarray(WEIGHTS))


def linear_sets(x, cost):
    """The closed form: a unit is worth its area if what it adds to the score is more than its price."""
    return x * WEIGHTS > cost / len(WEIGHTS)


@pytest.fixture(scope="module")
def found():
    """One call that several tests look at."""
    return explain(
        LINEAR, X, target=1, infill=Constant(0.0), units=Columns(), area_cost=3.0, search=BRIEF, key=KEY
    )


def test_linear_scores_have_the_sets_of_the_closed_form(found):
    for region in found.regions:
        np.testing.assert_array_equal(region.selected, linear_sets(X, 3.0))
    kept = np.where(found.ssr.selected, X, 0) @ WEIGHTS - 0.3
    left = np.where(found.sdr.selected, 0, X) @ WEIGHTS - 0.3
    np.testing.assert_allclose(found.ssr.score, kept, rtol=1e-5)
    np.testing.assert_allclose(found.sdr.score, left, rtol=1e-5)
    np.testing.assert_allclose(found.score, X @ WEIGHTS - 0.3, rtol=1e-5)
    np.testing.assert_allclose(found.sdr.loss, left + 3.0 * found.sdr.area, rtol=1e-5)
    np.testing.assert_allclose(found.ssr.area, found.ssr.selected.mean(1), rtol=1e-6)


def test_a_certificate_is_what_the_model_says_of_its_counterfactuals(found):
    for region in found.regions:
        scores = region.counterfactuals @ WEIGHTS - 0.3
        np.testing.assert_allclose(region.score, scores.mean(1), rtol=1e-5)
        success = scores > 0 if region.kind == "ssr" else scores <= 0
        np.testing.assert_array_equal(region.success, success.mean(1))
        kept = region.selected if region.kind == "ssr" else ~region.selected
        same = region.counterfactuals == X[:, None]
        assert same[np.broadcast_to(kept[:, None], same.shape)].all()


def test_the_curve_goes_from_nothing_to_everything(found):
    np.testing.assert_allclose(found.ssr.curve[:, 0], -0.3, rtol=1e-5)
    np.testing.assert_allclose(found.ssr.curve[:, -1], found.score, rtol=1e-5)
    np.testing.assert_allclose(found.sdr.curve[:, -1], -0.3, rtol=1e-5)
    np.testing.assert_allclose(found.sdr.curve_area[:, [0, -1]], [[0, 1]] * 2, atol=1e-6)


def test_the_same_key_gives_the_same_bits_and_companions_do_not_matter(found):
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(2))
    for i in range(2):
        alone = explain(
            LINEAR, X[i : i + 1], target=1, infill=Constant(0.0), units=Columns(), area_cost=3.0,
            search=BRIEF, key=keys[i : i + 1],
        )  # fmt: skip
        for one, all_ in zip(alone.regions, found[i].regions, strict=True):
            np.testing.assert_array_equal(one.probability, all_.probability)
            np.testing.assert_array_equal(one.selected, all_.selected)
            np.testing.assert_array_equal(one.history, all_.history)


@pytest.mark.slow
def test_every_kind_of_model_has_the_same_sets():
    data = np.random.default_rng(0).normal(size=(400, 6))
    fitted = LogisticRegression().fit(data, data @ WEIGHTS > 0)
    fitted.coef_, fitted.intercept_ = WEIGHTS[None].astype(float), np.array([-0.3])
    calls = []

    def batch(rows):
        calls.append(len(rows))
        p = 1 / (1 + np.exp(-(rows @ WEIGHTS - 0.3)))
        return np.stack([1 - p, p], axis=1)

    for model in (fitted, NumpyModel(batch), JaxModel(lambda x: jax.nn.softmax(LINEAR(x)), "probabilities")):
        got = explain(
            model, X, target=1, infill=Constant(0.0), units=Columns(), area_cost=3.0, search=BRIEF, key=KEY,
            n_counterfactuals=1, objective="sdr",
        )  # fmt: skip
        np.testing.assert_array_equal(got.sdr.selected, linear_sets(X, 3.0))
        np.testing.assert_allclose(got.score, X @ WEIGHTS - 0.3, rtol=1e-4)
    n_inputs = got.sdr.n_model_calls * len(X)
    assert sum(calls) >= n_inputs
    assert len(calls) < n_inputs / 10


def test_a_counted_call_is_a_call():
    counted = []

    def batch(rows):
        counted.append(len(rows))
        return np.stack([np.zeros(len(rows)), rows @ WEIGHTS], axis=1)

    got = explain(
        NumpyModel(batch, "logits"), X[:1], target=1, infill=Constant(0.0), units=Columns(), search=BRIEF,
        objective="ssr", key=KEY,
    )  # fmt: skip
    before = 1 + 2  # the input itself, and whether the model is pure
    assert sum(counted) == got.ssr.n_model_calls + before + 1


@pytest.mark.slow
def test_units_of_pictures_and_sequences():
    picture = np.random.default_rng(1).normal(size=(1, 6, 4, 2)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(6, 4, 2)).astype(np.float32)

    def sets(units):
        score = explain(
            lambda x: jnp.stack([0.0, jnp.sum(x * weights)]), picture, target=1, infill=Constant(0.0),
            units=units, area_cost=12.0, search=Search(n_steps=40, n_rounds=80, bounded=False),
            objective="sdr", key=KEY,
        )  # fmt: skip
        return score.mask("sdr")[0]

    effect = (picture[0] * weights).sum(-1)
    np.testing.assert_array_equal(sets(Pixels()), effect > 12 / 24)
    cells = effect.reshape(3, 2, 2, 2).sum((1, 3)) > 12 / 6
    np.testing.assert_array_equal(sets(Grid(3, 2)), np.kron(cells, np.ones((2, 2), bool)))
    sequence, letters = picture[0, :, :, 0], weights[:, :, 0]
    got = explain(
        lambda x: jnp.stack([0.0, jnp.sum(x * letters)]), sequence[None], target=1, infill=Constant(0.0),
        units=Positions(), area_cost=1.0, search=BRIEF, objective="sdr", key=KEY,
    )  # fmt: skip
    np.testing.assert_array_equal(got.sdr.selected[0], (sequence * letters).sum(1) > 1 / 6)


def test_learned_probabilities_reach_the_enumerated_optimum():
    """Of an expectation over independent units the least is at a corner, the best set."""
    generator = np.random.default_rng(0)
    inner, outer = generator.normal(size=(8, 6)), generator.normal(size=8)

    def score(rows):
        return np.tanh(rows @ inner.T) @ outer * 3

    got = explain(
        lambda x: jnp.stack([0.0, jnp.tanh(inner @ x) @ outer * 3]), X, target=1, infill=Constant(0.0),
        units=Columns(), area_cost=1.0, search=Search(n_steps=60, n_rounds=24, bounded=False), key=KEY,
    )  # fmt: skip
    every = np.array(list(itertools.product([0, 1], repeat=6)))
    for region in got.regions:
        for row, loss in zip(X, region.loss, strict=True):
            if region.kind == "ssr":
                best = (-score(every * row) + every.mean(1)).min()
            else:
                best = (score((1 - every) * row) + every.mean(1)).min()
            assert loss == pytest.approx(best, rel=1e-4)


@pytest.mark.slow
def test_of_two_copies_neither_is_needed_when_the_other_gives_it_back():
    data = np.random.default_rng(0).normal(size=(4000, 3))
    data[:, 1] = data[:, 0]
    infill = GaussianConditional.fit(data, shrinkage=0.0)

    def model(x):
        return jnp.stack([0.0, 4 * x[0] + 0.0 * x[2]])

    got = explain(
        model, np.array([[2.0, 2.0, 0.0]]), target=1, infill=infill, units=Columns(), area_cost=0.5,
        search=Search(n_draws=4), objective="sdr", key=KEY,
    )  # fmt: skip
    assert got.sdr.selected[0].tolist() == [True, True, False]  # one alone comes back
    got = explain(
        model, np.array([[2.0, 2.0, 0.0]]), target=1, infill=Constant(0.0), units=Columns(), area_cost=0.5,
        search=BRIEF, objective="sdr", key=KEY,
    )  # fmt: skip
    assert got.sdr.selected[0].tolist() == [True, False, False]


def test_what_exaggerates_the_class_is_worth_no_more_than_the_input():
    weights = jnp.array([4.0, 4.0, 4.0, -9.0])

    def sets(bounded):
        got = explain(
            lambda x: jnp.stack([0.0, weights @ x + 4.0]), np.ones((1, 4)), target=1, infill=Constant(0.0),
            units=Columns(), area_cost=4.0, search=Search(n_steps=8, n_rounds=16, bounded=bounded),
            objective="ssr", key=KEY,
        )  # fmt: skip
        return got.ssr.selected[0].tolist()

    assert sets(False) == [True, True, True, False]  # a score of 16, where the input has 7
    assert sum(sets(True)) == 1  # 8 suffices


@pytest.mark.slow
def test_finished_inputs_are_kept_and_are_those_of_their_settings(tmp_path):
    def call(keep, **changes):
        settings = {"infill": Constant(0.0), "search": BRIEF, "objective": "sdr", "target": 1} | changes
        return explain(LINEAR, X, units=Columns(), area_cost=3.0, key=KEY, keep=keep, **settings)

    call(tmp_path)
    n_files = len(list(tmp_path.iterdir()))
    call(tmp_path)
    assert len(list(tmp_path.iterdir())) == n_files
    other = Search(**{**vars(BRIEF), "n_steps": 21})
    for changes in ({"search": other}, {"infill": Constant(1.0)}, {"estimator": "loo"}, {"clip": 1e-3}):
        kept, fresh = call(tmp_path, **changes), call(None, **changes)
        np.testing.assert_array_equal(kept.sdr.probability, fresh.sdr.probability)
        np.testing.assert_array_equal(kept.sdr.score, fresh.sdr.score)


def test_the_published_recipe():
    weights = np.zeros((16, 16, 1), np.float32)
    weights[4:8, 8:12] = 1.0
    recipe = Search(**{**vars(PUBLISHED), "grid": (4, 4), "n_steps": 150})
    got = explain(
        lambda x: jnp.stack([8.0, jnp.sum(x * weights)]), np.ones((1, 16, 16, 1)), target=1,
        infill=Constant(0.0), units=Pixels(), estimator="concrete", area_cost=20.0, search=recipe, key=KEY,
    )  # fmt: skip
    inside = weights[..., 0] > 0
    for region in got.regions:
        probability = got.draw(region.probability)[0]
        assert probability[inside].mean() > 0.55 > 0.35 > probability[~inside].mean()
    assert got.map.shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 2}, "target must be 0 to 1"),
        ({"target": 1.5}, "target must be whole numbers"),
        ({"target": [0, 1, 1]}, "one for each of 2 inputs"),
        ({"x": X.astype(int)}, "floating-point"),
        ({"x": X[0]}, r"x\[None\]"),
        ({"area_cost": -1.0}, "area_cost must be finite and not negative"),
        ({"area_cost": np.nan}, "area_cost must be finite"),
        ({"objective": "all"}, "unknown objective"),
        ({"estimator": "gumbel"}, "unknown estimator"),
        ({"units": Grid(2, 2)}, "pictures have height, width and channels"),
        ({"units": Columns(((0, 1), (2,)))}, "each column from 0 to 5 once"),
        ({"units": "pixels"}, "units must be Grid"),
        ({"model": lambda x: x[:1]}, "score=lambda outputs"),
        ({"model": lambda x: jax.nn.softmax(LINEAR(x))}, "look like probabilities"),
        ({"model": lambda x: x * jnp.nan}, "the model returned"),
        ({"model": lambda x: x.reshape(7, 2)}, "takes ONE example"),
        ({"model": NumpyModel(lambda rows: rows[:, 0])}, r"values\[:, None\]"),
        ({"model": NumpyModel(lambda rows: rows[:1, :2])}, "must return outputs of shape"),
        ({"model": NumpyModel(lambda rows: rows[:, :2])}, "no probabilities"),
        ({"model": NumpyModel(lambda rows: rows / 0)}, "returned"),
        ({"model": 3}, "model must be a JAX function"),
        ({"search": Search(n_samples=1), "estimator": "loo"}, "LeaveOneOut needs n_samples of 2"),
        ({"n_counterfactuals": 0}, "n_counterfactuals must be at least 1"),
        ({"key": 0}, "key must be one typed key"),
        ({"clip": 0.7}, "clip must lie between"),
        ({"infill": lambda x: x}, "is no infiller"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_wrong_use_is_refused(changes, message):
    settings = {"model": LINEAR, "x": X, "target": 1, "infill": Constant(0.0), "units": Columns(), "key": KEY}
    settings |= changes
    model, x = settings.pop("model"), settings.pop("x")
    with pytest.raises((ArgumentError, TypeError), match=message):
        explain(model, x, **settings)


def test_what_a_classifier_says_of_itself_is_heeded():
    data = np.random.default_rng(0).normal(size=(120, 4))
    labels = np.digitize(data[:, 0], [-0.7, 0.7])
    frame = pd.DataFrame(data, columns=list("abcd"))
    settings = {"infill": Constant(0.0), "units": Columns(), "key": KEY, "target": None}
    pairs = SVC(decision_function_shape="ovo").fit(data, labels)
    with pytest.raises(ArgumentError, match="'ovo'"):
        explain(pairs, data, **settings)
    with pytest.raises(ArgumentError, match="for 4 classes"):
        explain(SVC(decision_function_shape="ovo").fit(data, labels + (data[:, 1] > 1.5)), data, **settings)
    fitted = LogisticRegression().fit(frame, labels > 0)
    with pytest.raises(ArgumentError, match="in another order"):
        explain(fitted, frame[list("dcba")], **settings)
    with pytest.raises(ArgumentError, match="the columns of x are"):
        explain(fitted, frame.rename(columns={"a": "e"}), **settings)
    with pytest.raises(ArgumentError, match="give a fitted instance"):
        explain(LogisticRegression, data, **settings)


def test_functions_that_are_not_pure_and_numbers_that_lose_digits_are_refused():
    settings = {"infill": Constant(0.0), "units": Columns(), "key": KEY, "target": 1}
    generator = np.random.default_rng(0)
    random = NumpyModel(lambda rows: generator.normal(size=(len(rows), 2)), "logits")
    together = NumpyModel(lambda rows: np.stack([rows[:, 0], rows[:, 1] - rows.mean()], axis=1), "logits")
    for model in (random, together):
        with pytest.raises(ArgumentError, match="must be a pure function of each example"):
            explain(model, X, **settings)
    if not jax.config.jax_enable_x64:
        with pytest.raises(ArgumentError, match="loses digits in single precision"):
            explain(LINEAR, X + np.array(1e9), **settings)
    with pytest.raises(ArgumentError, match="at most 1e"):
        explain(LINEAR, X, area_cost=1e30, **settings)


def test_a_black_box_has_no_gradient_and_numbers_must_be_finite():
    box = NumpyModel(lambda rows: np.stack([np.zeros(len(rows)), rows @ WEIGHTS], axis=1), "logits")
    with pytest.raises(ArgumentError, match="'loo', 'disarm' or 'relax'"):
        explain(box, X, target=1, infill=Constant(0.0), units=Columns(), estimator="concrete", key=KEY)
    with pytest.raises(DataError, match="x must be finite"):
        explain(box, X * np.inf, target=1, infill=Constant(0.0), units=Columns(), key=KEY)


@pytest.mark.parametrize(
    ("units", "shape", "message"),
    [
        (Grid(9, 2), (8, 8, 3), "finer than the picture"),
        (Grid(2, 2), (3, 8, 8), "channels='first'"),
        (Pixels("first"), (8, 8, 3), "channels='last'"),
        (Grid(2, 2), (8, 8), "channels=None"),
        (Superpixels(np.ones((8, 8), int)), (8, 8, 3), "labels must be 0 to K - 1"),
        (Superpixels(np.zeros((4, 4), int)), (8, 8, 3), "labels have shape"),
        (Positions(), (0, 4), "not empty"),
        (Columns(names=("a",)), (2,), "names has 1 names for 2 units"),
        (Columns(((0,), ())), (1,), "one is empty"),
    ],
)
def test_units_that_do_not_fit(units, shape, message):
    with pytest.raises(ArgumentError, match=message):
        units.cut(shape)


@pytest.mark.slow
def test_what_a_reader_must_know_is_noted():
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    got = explain(
        lambda x: jnp.stack([1e3, jnp.sum(x)]), images, target=1, infill=Blur(1.0), units=Grid(2, 2),
        search=BRIEF, estimator=LeaveOneOut(), key=KEY,
    )  # fmt: skip
    notes = " ".join(got.notes)
    assert "Blur reads what it hides" in notes
    assert "another predicted class" in notes
    assert "score of 0 or less as they are" in notes
    assert "lower area_cost" in notes


def test_a_table_a_figure_and_a_file(found, tmp_path):
    table = found.table()
    assert len(table) == 4
    assert set(table["region"]) == {"ssr", "sdr"}
    assert table["units"].tolist() == [region.selected[i].sum() for i in range(2) for region in found.regions]
    chosen = [np.flatnonzero(region.selected[i]) for i in range(2) for region in found.regions]
    for which, own in zip(table["which"], chosen, strict=True):
        others = [f"and {len(own) - 8} others"] if len(own) > 8 else []
        assert which == ", ".join([*map(str, own[:8]), *others])
    assert len(found.plot(1).axes) == 2
    with pytest.raises(ArgumentError, match="there are 2 inputs"):
        found.plot(2)
    found.save(tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as arrays:
        np.testing.assert_array_equal(arrays["sdr_selected"], found.sdr.selected)
        np.testing.assert_array_equal(arrays["map"], found.map)
