"""The PhysioNet recipe: its series, its folds, its measures, and all of it on a few invented stays."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as their_roc_curve

from backthrough.core import ArgumentError, DataError
from backthrough.ode import Euler
from backthrough.recipes.latent.physionet import recipe
from backthrough.recipes.latent.physionet.cross_validation import roc_auc, roc_curve, stratified_folds
from backthrough.recipes.latent.physionet.data import (
    Stays,
    bin_stays,
    deviation,
    load_stays,
    measure_range,
    measure_spread,
    take,
)
from backthrough.recipes.latent.physionet.measures import BETTER, error_of_stays, pooled_error
from backthrough.recipes.latent.physionet.models import Case, Sizes, build
from backthrough.train import Run

NAMES = ["Age", "Gender", "Height", "ICUType", "Weight", "HR", "SysABP", "Temp"]
CHANNELS = ("Weight", "HR", "SysABP", "Temp")


def invented(n_stays, *, seed=0):
    """Stays of up to 30 measurements; those that died had a faster heart."""
    rng = np.random.default_rng(seed)
    died = np.arange(n_stays) % 4 == 0
    counts = rng.integers(12, 30, n_stays)
    stay = np.repeat(np.arange(n_stays), counts)
    param = rng.integers(0, len(NAMES), len(stay))
    value = rng.normal(50 + 10 * param + 30 * died[stay], 5).astype(np.float32)
    value[(param == 4) & (rng.random(len(stay)) < 0.3)] = -1.0
    return {
        "record_id": 100 + np.arange(n_stays, dtype=np.int32),
        "offset": np.append(0, np.cumsum(counts)).astype(np.int32),
        "minute": rng.integers(0, 2881, len(stay)).astype(np.uint16),
        "param": param.astype(np.uint8),
        "value": value,
        "outcomes": np.stack([np.zeros(n_stays), died], axis=1).astype(np.int16),
        "param_names": np.array(NAMES),
        "outcome_names": np.array(["SOFA", "In-hospital_death"]),
    }


@pytest.mark.parametrize("bin_hours", [0.1, 1.0, 6.0])
def test_bins_are_those_of_a_table(bin_hours):
    data = invented(9)
    stays = bin_stays(data, bin_hours)
    stay = np.repeat(np.arange(9), np.diff(data["offset"]))
    frame = pd.DataFrame({"stay": stay, "name": np.array(NAMES)[data["param"]], "value": data["value"]})
    frame["at"] = [round(minute / 60 / bin_hours) for minute in data["minute"].tolist()]
    frame = frame[frame.name.isin(CHANNELS) & ~((frame.name == "Weight") & (frame.value == -1))]
    table = frame.groupby(["stay", "at", "name"]).value.mean().unstack().reindex(columns=list(CHANNELS))
    assert stays.names == CHANNELS
    for index in range(9):
        own = table.loc[index]
        times, values, mask = (part[index] for part in stays.series)
        rows = len(own)
        np.testing.assert_allclose(times[:rows], own.index.to_numpy() * bin_hours / 48, rtol=1e-6)
        np.testing.assert_array_equal(mask[:rows], own.notna())
        np.testing.assert_allclose(values[:rows][mask[:rows]], own.to_numpy()[own.notna()], rtol=1e-6)
        assert not mask[rows:].any()
        np.testing.assert_array_equal(times[rows:], times[rows - 1])
    np.testing.assert_array_equal(stays.died, data["outcomes"][:, 1] == 1)


def test_wrong_series_are_named():
    data = invented(5)
    for bin_hours in (0.7, 100.0):
        with pytest.raises(ArgumentError, match="bin_hours must divide the 48 hours of a stay"):
            bin_stays(data, bin_hours)
    row = int(np.flatnonzero(data["param"] == 5)[-1])
    data["value"][row] = np.nan
    with pytest.raises(DataError, match=r"record 104 has HR = nan at minute \d+; it must be finite"):
        bin_stays(data, 1.0)


def test_missing_data_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("BACKTHROUGH_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match="physionet2012 is not here"):
        load_stays(1.0)


def test_areas_and_curves_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, scores = rng.random(200) < 0.2, np.round(rng.normal(size=200), 1)  # with ties
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    theirs = their_roc_curve(labels, scores, drop_intermediate=False)
    for ours, other in zip(roc_curve(labels, scores), theirs[:2], strict=True):
        np.testing.assert_allclose(ours, other)
    with pytest.raises(ArgumentError, match="rows of both classes"):
        roc_auc(np.ones(3, bool), np.arange(3.0))
    with pytest.raises(ArgumentError, match="finite scores"):
        roc_auc(np.array([True, False]), np.array([0.0, np.nan]))


def test_folds_are_stratified_and_disjoint():
    labels = np.arange(103) % 7 == 0
    folds = stratified_folds(labels, 5, seed=3)
    for own in (labels, ~labels):
        counts = np.bincount(folds[own], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert (stratified_folds(labels, 5, seed=4) != folds).any()
    with pytest.raises(DataError, match="20 folds need as many rows of each class; one class has 15"):
        stratified_folds(labels, 20, seed=0)
    for fold in recipe.split(np.arange(200) % 4 == 0, recipe.Config()):
        parts = [set(rows.tolist()) for rows in fold]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 200


def test_scales_are_those_of_the_stays_that_are_given():
    series = bin_stays(invented(9), 1.0).series
    for measure in (measure_range, measure_spread):
        scale = measure(take(series, np.arange(4)))
        series.values[5:] += 1e6
        for ours, before in zip(measure(take(series, np.arange(4))), scale, strict=True):
            np.testing.assert_array_equal(ours, before)
    scale = measure_range(take(series, np.arange(4)))
    inside = scale.apply(take(series, np.arange(4)))
    seen = inside.values[inside.mask]
    assert seen.min() == 0
    assert seen.max() == pytest.approx(1, abs=1e-6)
    assert scale.apply(series).values.max() > 100  # not cut off unless asked
    assert abs(scale.apply(series, limit=2.0).values).max() == 2
    column = inside.values[..., 1][inside.mask[..., 1]]
    assert deviation(inside, least=0.01)[1] == pytest.approx(column.std(), rel=1e-5)
    nothing = series._replace(mask=np.zeros_like(series.mask))
    np.testing.assert_array_equal(measure_spread(nothing).width, 1)
    np.testing.assert_array_equal(deviation(nothing, least=0.01), 0.01)


@pytest.mark.parametrize(  # with ODEs: tests/latent
    "name", ["gru", pytest.param("rnn-vae", marks=pytest.mark.slow)]
)
def test_padding_changes_nothing(name):
    series = bin_stays(invented(5), 6.0).series
    one = type(series)(*(part[2] for part in measure_spread(series).apply(series)))
    rows = int(one.mask.any(1).sum())
    short = type(one)(*(part[:rows] for part in one))
    padded = type(one)(
        np.append(short.times, np.full(3, short.times[-1])),
        np.append(short.values, np.full((3, 4), np.nan, np.float32), axis=0),
        np.append(short.mask, np.zeros((3, 4), bool), axis=0),
    )
    model = build(name, Sizes(4, 3, 5, 6, np.ones(4), Euler(1), 100.0), classify=True, key=jax.random.key(0))

    @eqx.filter_jit
    def loss(own):
        return model.loss(Case(own, own, jnp.asarray(True)), key=jax.random.key(1))

    losses = [loss(short), loss(padded)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    if name == "gru":
        later = short._replace(times=np.append(short.times[:-1], np.float32(1.0)))
        assert loss(later) != losses[0]  # the time between is seen


def test_the_error_of_a_stay_counts_channels_that_were_not_observed_as_zero():
    stays = bin_stays(invented(6), 6.0)
    data = Case(stays.series, stays.series, stays.died)
    means = stays.series.values + np.where(np.arange(4) == 1, 3.0, 0.0)
    seen = stays.series.mask[..., 1].any(1)
    np.testing.assert_allclose(error_of_stays(means, data), np.where(seen, 9 / 4, 0), rtol=1e-5)
    share = stays.series.mask[..., 1].sum() / stays.series.mask.sum()
    assert pooled_error(means, data) == pytest.approx(9 * share, rel=1e-5)


def test_what_is_to_be_found_is_hidden():
    stays = bin_stays(invented(6), 2.0)
    for config in (recipe.Config(task="interpolation", seen=0.5), recipe.Config(task="extrapolation")):
        data = recipe.cases(config, stays)
        assert not (data.seen.mask & data.target.mask).any()
        np.testing.assert_array_equal(data.seen.mask | data.target.mask, stays.series.mask)
    assert (
        data.seen.times[data.seen.mask.any(-1)].max()
        <= 0.5
        < data.target.times[data.target.mask.any(-1)].min()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("rnn-vae",)}, "unknown model for mortality 'rnn-vae'"),
        ({"models": ("gru", "gru")}, "models must differ"),
        ({"n_folds_run": 6}, r"n_folds_run must be at most folds \(5\), got 6"),
        ({"seen": 0.5}, "is for interpolation only"),
        ({"task": "interpolation", "seen": 0.0}, r"seen must lie in \(0, 1\]"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate must be finite"),
    ],
)
def test_wrong_options_are_named_before_anything_is_loaded(options, message):
    with pytest.raises(ArgumentError, match=message):
        recipe.check(recipe.Config(**options))


TINY = {"bin_hours": 6.0, "batch_size": 8, "latent_size": 2, "hidden_size": 4, "width": 5, "n_folds_run": 1}


def examine(tmp_path, stays, **options):
    run = Run(tmp_path / "run", config={"recipe": "latent-ode-physionet"})
    recipe.examine(recipe.Config(**{**TINY, **options}), run, stays)
    numbers = json.loads((run.path / "result.json").read_text())["numbers"]
    return run, {number["name"]: number["value"] for number in numbers}


def test_a_gru_finds_those_with_a_fast_heart(tmp_path):
    """Chance is 0.5; the heart rates of the two classes are six standard deviations apart."""
    stays: Stays = bin_stays(invented(120), 6.0)
    run, found = examine(tmp_path, stays, models=("gru",), n_steps=100, learning_rate=0.02)
    assert found["AUC (gru)"] > 0.9
    assert found["died"] == pytest.approx(0.25)
    assert (run.path / "figures" / "roc.svg").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mortality", "interpolation", "extrapolation"])
def test_every_model_is_measured_and_drawn(tmp_path, task):
    stays = bin_stays(invented(120), 6.0)
    run, found = examine(tmp_path, stays, task=task, n_steps=4)
    assert all(np.isfinite(value) for value in found.values())
    assert len(found) == (5 if task == "mortality" else 6)
    assert (run.path / "figures" / "records.svg").exists()
    if task == "mortality":
        assert found[BETTER] == max(found["AUC (ode-rnn)"], found["AUC (latent-ode)"])
