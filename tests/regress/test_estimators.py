"""Regressor and classifier: units, shapes, files, errors."""

import pickle
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import check_estimator

from backthrough.core import ArgumentError, DataError
from backthrough.natgrad import NoisyKFAC
from backthrough.regress import (
    METHODS,
    BayesianClassifier,
    BayesianRegressor,
    acquire,
    default_batch_size,
    default_n_epochs,
    evaluate,
    evaluate_classes,
    load,
)
from backthrough.train import Run
from oracles.simple_method import Simple

SMALL = {"method": Simple(), "hidden_sizes": (8,), "n_epochs": 30, "n_samples": 6, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    speed, road = random.uniform(0, 3, 80), random.choice(["dry", "wet"], 80)
    frame = pd.DataFrame({"speed": speed, "road": road}, index=range(500, 580))
    distance = speed * np.where(road == "wet", 2.0, 1.0) + random.normal(0, 0.1, 80)
    return frame, pd.Series(distance, index=frame.index, name="distance")


@pytest.fixture(scope="module")
def regressor(table):
    return BayesianRegressor(**SMALL).fit(*table)


@pytest.fixture(scope="module")
def classifier(table):
    frame, distance = table
    return BayesianClassifier(**SMALL).fit(frame, np.where(distance > 2, "far", "near"))


def test_predictions_and_where_their_uncertainty_comes_from(regressor, table):
    frame, distance = table
    found = regressor.predictive(frame)
    mean, std = regressor.predict(frame, return_std=True)
    assert regressor.score(frame, distance) > 0.5
    np.testing.assert_allclose(found.epistemic_std**2 + found.aleatoric_std**2, std**2, rtol=1e-6)
    low, high = regressor.predict_interval(frame, level=0.8)
    np.testing.assert_allclose(found.cdf(low), 0.1, atol=1e-4)
    np.testing.assert_allclose(found.cdf(high), 0.9, atol=1e-4)
    draws = regressor.sample(frame, 3000)
    assert draws.shape == (3000, 80)
    assert (np.abs(draws.mean(0) - mean) < 5 * std / np.sqrt(3000)).all()
    np.testing.assert_array_equal(draws, regressor.sample(frame, 3000))
    # the log-density is the slope of the log of the distribution function
    step = 1e-2
    slope = (found.cdf(distance + step) - found.cdf(distance - step)) / (2 * step)
    near = slope > 1e-2
    np.testing.assert_allclose(regressor.log_prob(frame, distance)[near], np.log(slope[near]), atol=0.02)


def test_a_prediction_is_a_rows_own(regressor, table):
    frame, _ = table
    whole = regressor.predict(frame)
    assert (regressor.predict(frame[7:9]) == whole[7:9]).all()
    many = pd.concat([frame] * 10)  # more than one chunk
    assert (regressor.predict(many)[-80:] == whole).all()


def test_what_lies_too_far_out_is_refused(regressor, table):
    frame = table[0].copy()
    frame.loc[frame.index[3], "speed"] = 1e40
    with pytest.raises(DataError, match="row 3 lies 1e[+]40 standard deviations .* nothing can be said"):
        regressor.predict(frame)


def test_units_of_targets_and_features(regressor, table):
    """In other units (by a power of two, so that no digit is lost) predictions are the same in those."""
    frame, distance = table
    turned = BayesianRegressor(**SMALL).fit(frame.assign(speed=frame["speed"] * 4), distance * 1024)
    other = frame.assign(speed=frame["speed"] * 4)
    assert (turned.predict(other) == 1024 * regressor.predict(frame)).all()
    assert (turned.predict_interval(other)[0] == 1024 * regressor.predict_interval(frame)[0]).all()
    np.testing.assert_allclose(
        turned.log_prob(other, distance * 1024), regressor.log_prob(frame, distance) - np.log(1024), rtol=1e-6
    )
    moved = BayesianRegressor(**SMALL).fit(frame.assign(speed=frame["speed"] + 64), distance + 1e6)
    shifted = moved.predict(frame.assign(speed=frame["speed"] + 64)) - 1e6
    np.testing.assert_allclose(
        shifted, regressor.predict(frame), atol=0.02
    )  # rounding, amplified in training


def test_matrices_of_targets(table):
    frame, distance = table
    both = np.stack([distance, 100 - 50 * distance], axis=1)
    model = BayesianRegressor(**SMALL).fit(frame, both)
    found = model.predictive(frame)
    assert found.mean.shape == found.std.shape == model.predict_interval(frame)[0].shape == (80, 2)
    assert model.log_prob(frame, both).shape == (80,)
    assert model.sample(frame, 3).shape == (3, 80, 2)
    assert model.score(frame, both) > 0.3


def test_a_saved_model_predicts_the_same_bits(regressor, classifier, table, tmp_path):
    frame, _ = table
    for model in (regressor, classifier):
        model.save(tmp_path / "model.npz")
        for again in (type(model).load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
            assert again.decisions_ == model.decisions_
        assert type(load(tmp_path / "model.npz")) is type(model)
    assert (again.predict_proba(frame) == model.predict_proba(frame)).all()
    with pytest.raises(DataError, match="holds a BayesianClassifier, not a BayesianRegressor"):
        BayesianRegressor.load(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    with pytest.raises(ArgumentError, match="unknown method"):  # an object is kept by its name only
        again.fit(*table)


def test_a_stopped_run_goes_on_to_the_same_bits(regressor, table, tmp_path):
    frame, distance = table

    class Stop(Exception):
        pass

    def stop(*arguments, **records):
        save(*arguments, **records)
        raise Stop

    from backthrough.train import run_files

    save = run_files.save_checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_files, "save_checkpoint", stop)
        with pytest.raises(Stop):
            BayesianRegressor(**SMALL).fit(frame, distance, run=Run(tmp_path / "run"))
    model = BayesianRegressor(**SMALL).fit(frame, distance, run=Run(tmp_path / "run", resume=True))
    np.testing.assert_array_equal(model.predict(frame), regressor.predict(frame))


def test_classes(classifier, table):
    frame, distance = table
    labels = np.where(distance > 2, "far", "near")
    assert classifier.classes_.tolist() == ["far", "near"]
    assert classifier.score(frame, labels) > 0.8
    shares, found = classifier.predict_proba(frame), classifier.predictive(frame)
    np.testing.assert_allclose(shares.sum(1), 1)
    picked = shares[np.arange(80), (labels == "near").astype(int)]
    np.testing.assert_allclose(classifier.log_prob(frame, labels), np.log(picked), atol=1e-5)
    assert (found.epistemic >= 0).all()
    np.testing.assert_allclose(found.epistemic + found.aleatoric, found.entropy, atol=1e-5)
    assert (found.entropy <= np.log(2) + 1e-6).all()


def test_the_rows_to_label_next(regressor, classifier, table):
    frame, _ = table
    epistemic = regressor.predictive(frame).epistemic_std
    chosen = acquire(regressor, frame, 5)
    assert chosen.tolist() == np.argsort(-epistemic, kind="stable")[:5].tolist()
    assert acquire(regressor, frame, 80, by="variance").tolist() != sorted(range(80))
    far = pd.DataFrame({"speed": [1.0, 50.0, 1.2], "road": "dry"})
    assert acquire(regressor, far, 1).tolist() == [1]
    entropy = classifier.predictive(frame).entropy
    assert acquire(classifier, frame, 1, by="entropy")[0] == entropy.argmax()
    with pytest.raises(ArgumentError, match="n must be at most the number of rows, 80, got 81"):
        acquire(regressor, frame, 81)
    with pytest.raises(ArgumentError, match="unknown by 'entropy'"):
        acquire(regressor, frame, 1, by="entropy")


def test_plain_methods_beside_it(regressor, classifier, table):
    frame, distance = table
    found = evaluate(regressor, frame[:60], distance[:60], frame[60:], distance[60:], target="distance")
    errors = found.table().set_index("method")["RMSE"]
    assert errors["mean"] == pytest.approx(np.sqrt(np.mean((distance[60:] - distance[:60].mean()) ** 2)))
    numbers = {number.name: number.value for number in found.numbers()}
    assert numbers["RMSE (network)"] == pytest.approx(errors["network"])
    assert len(numbers) == len(found.numbers())
    assert "Predictions of distance are off by" in found.headline().sentence
    assert len(found.plot().axes) == 2
    labels = np.where(distance > 2, "far", "near")
    own = evaluate_classes(classifier, frame[:60], labels[:60], frame[60:], labels[60:], target="how far")
    accuracy = own.table().set_index("method")["accuracy"]
    assert accuracy["network"] == np.mean(classifier.predict(frame[60:]) == labels[60:])
    assert "Classes of how far are right in" in own.headline().sentence
    assert len(own.plot().axes) == 2
    few = evaluate(regressor, frame[:77], distance[:77], frame[77:], distance[77:])
    assert "3 held-out rows are too few to tell" in few.headline().sentence


def test_what_is_wrong_is_named(table):
    frame, distance = table
    x = np.stack([frame["speed"], np.arange(80.0)], axis=1)
    settings = {
        "method": "noisy-kfca",
        "hidden_sizes": (0,),
        "prior_var": 0.0,
        "kl_weight": -1.0,
        "n_epochs": 0,
        "batch_size": 0,
        "n_samples": 0,
        "learning_rate": 1.0,
        "random_state": "zero",
    }
    for name, value in settings.items():
        with pytest.raises(ArgumentError, match=name):
            BayesianRegressor(**{**SMALL, name: value}).fit(x, distance)
    with pytest.raises(ArgumentError, match="did you mean 'noisy-kfac'"):
        BayesianRegressor("noisy-kfca").fit(x, distance)
    with pytest.raises(DataError, match="column 1 of row 3 is NaN"):
        BayesianRegressor(**SMALL).fit(np.where(x == 3.0, np.nan, x), distance)
    with pytest.raises(DataError, match="target 'distance' of row 2 is infinite"):
        BayesianRegressor(**SMALL).fit(x, distance.where(np.arange(80) != 2, np.inf))
    with pytest.raises(DataError, match="target 'y' has the same value in every row"):
        BayesianRegressor(**SMALL).fit(x, np.full(80, 0.1))
    with pytest.raises(DataError, match="there is only one class, 'a'"):
        BayesianClassifier(**SMALL).fit(x, ["a"] * 80)
    with pytest.raises(DataError, match="the class of row 1 is missing"):
        BayesianClassifier(**SMALL).fit(x, pd.Series(["a", None, "b", "a"] * 20))
    with pytest.raises(DataError, match="column 0 is too large to be squared"):
        BayesianRegressor(**SMALL).fit(x * [1e200, 1.0], distance)


def test_constant_columns_tell_nothing(table):
    """With a warning that names them; whatever stands in them later is of no matter."""
    frame, distance = table
    x = np.stack([frame["speed"], np.full(80, 0.3)], axis=1)
    x[::7, 1] = 0.1 + 0.2
    with pytest.warns(UserWarning, match="constant in every row, and so of no use: column 1"):
        model = BayesianRegressor(**SMALL).fit(x, distance)
    assert (model.predict(x) == model.predict(x + np.array([0.0, 100.0]))).all()


def test_default_sizes():
    assert [default_batch_size(n) for n in (20, 1000, 200_000)] == [10, 20, 400]
    assert [default_n_epochs(n, default_batch_size(n)) for n in (20, 1000, 200_000)] == [1000, 400, 40]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_by_its_name(table, method):
    frame, distance = table
    own = {**SMALL, "method": method, "n_epochs": 60, "learning_rate": 0.02}
    model = BayesianRegressor(**own).fit(frame, distance)
    assert model.score(frame, distance) > 0.5
    found = model.predictive(frame)
    assert (found.epistemic_std.max() > 0) == (method != "map")


def test_noisy_kfac_by_name_is_noisy_kfac(table):
    frame, distance = table
    own = {**SMALL, "n_epochs": 2, "hidden_sizes": (3,)}
    by_name = BayesianRegressor(**{**own, "method": "noisy-kfac"}).fit(frame, distance)
    by_object = BayesianRegressor(**{**own, "method": NoisyKFAC()}).fit(frame, distance)
    assert (by_name.predict(frame) == by_object.predict(frame)).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BayesianRegressor, BayesianClassifier])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:constant in every row")
def test_scikit_learn_takes_it_for_one_of_its_own(kind):
    jax.config.update("jax_disable_most_optimizations", True)  # some fifty programs that hardly run
    try:
        check_estimator(
            kind(Simple(), hidden_sizes=(4,), n_epochs=30, batch_size=20, n_samples=5, random_state=0)
        )
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
def test_two_hundred_thousand_rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(200_000, 6))
    y = x[:, 0] + random.normal(0, 0.5, 200_000)
    model = BayesianRegressor(Simple(), n_epochs=1, n_samples=50, random_state=0).fit(x, y)
    assert model.batch_size_ == 400
    mean, std = model.predict(x, return_std=True)
    assert mean.shape == (200_000,)
    assert 0.4 < np.sqrt(np.mean((mean - y) ** 2)) < 0.6
    assert 0.4 < std.mean() < 0.8


def test_wrong_frames_are_told_with_warnings_as_errors(table):
    """The fixtures above fit without a warning: nothing about these columns has to be told."""
    frame, distance = table
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="'id' is left out"):
            BayesianRegressor(**SMALL).fit(frame.assign(id=[f"n{i}" for i in range(80)]), distance)
