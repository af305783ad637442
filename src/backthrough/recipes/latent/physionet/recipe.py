"""ODE-RNN, latent ODE and a GRU on stays in intensive care (Rubanova et al. 2019; PhysioNet 2012)."""

from dataclasses import asdict
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice, check_integer, check_positive
from backthrough.ode import RK4, Euler, Midpoint
from backthrough.recipes.latent.physionet.config import Config
from backthrough.recipes.latent.physionet.cross_validation import roc_auc, stratified_folds
from backthrough.recipes.latent.physionet.data import (
    HOURS,
    Stays,
    deviation,
    hide,
    load_stays,
    measure_range,
    measure_spread,
    take,
)
from backthrough.recipes.latent.physionet.figures import draw_records, draw_roc
from backthrough.recipes.latent.physionet.measures import (
    Outcome,
    Scales,
    error_numbers,
    headline,
    pooled_error,
    rank_numbers,
)
from backthrough.recipes.latent.physionet.models import (
    Case,
    Reader,
    Reconstructor,
    Sizes,
    build,
    cross_entropy,
)
from backthrough.train import Batches, Best, Run, fit, mean_over_shards, schedule

CLASSIFIERS = ("ode-rnn", "latent-ode", "gru")
RECONSTRUCTORS = ("latent-ode", "latent-ode-rnn", "rnn-vae")
SOLVERS = {"euler": Euler, "midpoint": Midpoint, "rk4": RK4}
VALIDATION_PARTS = 8  # one in so many training stays decides when to stop, and is not trained on
MEASURES = {"range": measure_range, "spread": measure_spread}
INPUT_LIMIT = 5.0  # of what an encoder sees; beyond it are typing errors
LEAST_DEVIATION = 0.01  # of scaled values, where the likelihood starts
EVALUATIONS = 20
CLIP = 10.0
AT_ONCE = 256  # stays, when they are only looked at
HIDING = 1  # tells the draw of hidden times from others


class Fold(NamedTuple):
    """Rows of the stays for training, for choosing the step, and held out."""

    train: Int[np.ndarray, "train"]
    valid: Int[np.ndarray, "valid"]
    test: Int[np.ndarray, "test"]


class State(NamedTuple):
    """What training carries."""

    model: Reader | Reconstructor
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Trains every model on every fold, measures it on the stays held out, and draws what it says."""
    check(config)
    examine(config, run, load_stays(config.bin_hours))


def check(config: Config) -> None:
    """Refuses what cannot work, before anything is loaded."""
    known = CLASSIFIERS if config.task == "mortality" else RECONSTRUCTORS
    for name in config.models:
        check_choice(f"model for {config.task}", name, known)
    for name in (
        "n_steps",
        "batch_size",
        "latent_size",
        "hidden_size",
        "width",
        "solver_steps",
        "n_folds_run",
    ):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    check_integer("folds", config.folds, minimum=2)
    if config.n_folds_run > config.folds:
        raise ArgumentError(f"n_folds_run must be at most folds ({config.folds}), got {config.n_folds_run}")
    if len(set(config.models)) < len(config.models):
        raise ArgumentError(f"models must differ from each other, got {', '.join(config.models)}")
    for name in ("bin_hours", "learning_rate", "label_weight"):
        check_positive(name, getattr(config, name))
    if not 0 < config.seen <= 1 or (config.seen < 1 and config.task != "interpolation"):
        raise ArgumentError(f"seen must lie in (0, 1], and is for interpolation only, got {config.seen}")


def examine(config: Config, run: Run, stays: Stays) -> None:
    """The experiment on these stays."""
    names = config.models or (CLASSIFIERS if config.task == "mortality" else RECONSTRUCTORS)
    data, folds = cases(config, stays), split(stays.died, config)
    results = {
        name: [fit_fold(config, run, data, name, k, folds[k]) for k in range(config.n_folds_run)]
        for name in names
    }
    if config.task == "mortality":
        numbers = rank_numbers(results, n_folds=config.folds)
        draw_roc(
            run, {name: [(np.asarray(o.test.died), o.found) for o in own] for name, own in results.items()}
        )
    else:
        numbers = error_numbers(results, config.task)
    latent = [own[0] for own in results.values() if isinstance(own[0].model, Reconstructor)]
    if latent:
        n_bins = round(HOURS / config.bin_hours)
        draw_records(run, latent[0], data, stays.names, n_bins=n_bins, seed=config.seed)
    run.save_result(numbers, headline=headline(numbers, config.task, names))


def cases(config: Config, stays: Stays) -> Case:
    """What is seen and what is to be found of each stay, as the task has it."""
    series = stays.series
    if config.task == "extrapolation":
        late = np.asarray(series.times) > 0.5
        return Case(hide(series, late), hide(series, ~late), stays.died)
    if config.seen < 1:
        hidden = np.random.default_rng([config.seed, HIDING]).random(series.times.shape) >= config.seen
        return Case(hide(series, hidden), hide(series, ~hidden), stays.died)
    return Case(series, series, stays.died)


def split(died: Bool[np.ndarray, "stay"], config: Config) -> list[Fold]:
    """Stratified folds; of the stays that are not held out a stratified eighth chooses the step."""
    fold = stratified_folds(died, config.folds, seed=config.seed)
    found = []
    for k in range(config.folds):
        rest = np.flatnonzero(fold != k)
        part = stratified_folds(died[rest], VALIDATION_PARTS, seed=[config.seed, k])
        found.append(Fold(rest[part > 0], rest[part == 0], np.flatnonzero(fold == k)))
    return found


def scaled(data: Case, rows: Int[np.ndarray, "row"], scales: Scales) -> Case:
    """Some of the cases, scaled."""
    seen = scales.seen.apply(take(data.seen, rows), limit=INPUT_LIMIT)
    return Case(seen, scales.target.apply(take(data.target, rows)), data.died[rows])


def fit_fold(config: Config, run: Run, data: Case, name: str, k: int, fold: Fold) -> Outcome:
    """Trains one model on one fold, in a folder of its own in the run, and tries it on what is held out."""
    scales = Scales(
        MEASURES[config.inputs](take(data.seen, fold.train)), measure_range(take(data.target, fold.train))
    )
    train, valid, test = (scaled(data, rows, scales) for rows in fold)
    classify = config.task == "mortality"
    sizes = Sizes(
        data.seen.values.shape[-1],
        config.latent_size,
        config.hidden_size,
        config.width,
        deviation(train.target, least=LEAST_DEVIATION),
        SOLVERS[config.solver](config.solver_steps),
        config.label_weight,
    )
    model_key, fit_key = jax.random.split(jax.random.key(config.seed + k))
    model = build(name, sizes, classify=classify, key=model_key)
    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps, warm_up=config.n_steps // 20)
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(rate))
    state = State(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)))

    def step(state: State, batch: Case, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        def loss(model: Any) -> Scalar:
            keys = jax.random.split(key, len(batch.died))
            return jax.vmap(lambda case, own: model.loss(case, key=own))(batch, keys).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(state.model)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        return State(eqx.apply_updates(state.model, updates), memory), {"loss/train": value}

    def evaluate(state: State, *, key: PRNGKey) -> dict[str, float]:
        found = predict(state.model, valid, classify=classify)
        if not classify:
            return {"squared error/valid": pooled_error(found, valid)}
        loss = float(cross_entropy(jnp.asarray(found), valid.died).mean())
        return {"cross-entropy/valid": loss, "AUC/valid": roc_auc(np.asarray(valid.died), found)}

    metric = "cross-entropy/valid" if classify else "squared error/valid"
    own_run = Run(
        run.path / "folds" / f"{name}-{k}",
        config={**asdict(config), "model": name, "fold": k},
        resume=True,
        shards=run.shards,
        devices=run.devices,
    )
    fitted = fit(
        step,
        state,
        Batches(train, min(config.batch_size, len(fold.train)), seed=config.seed + k),
        n_steps=config.n_steps,
        key=fit_key,
        run=own_run,
        evaluate=evaluate,
        evaluate_every=max(1, config.n_steps // EVALUATIONS),
        best=Best(metric, larger_is_better=False),
        log_every=max(1, config.n_steps // 100),
        label=f"{name}, fold {k + 1}",
    )
    found = predict(fitted.best.model, test, classify=classify)
    return Outcome(fitted.best.model, scales, fold.test, test, found)


def predict(
    model: Reader | Reconstructor, data: Case, *, classify: bool
) -> Float[np.ndarray, "stay *time_channel"]:
    """Log-odds of death, or reconstructions, of many stays."""
    return np.asarray(_in_parts(model, jax.tree_util.tree_map(jnp.asarray, data), classify))


@eqx.filter_jit
def _in_parts(model: Any, data: Case, classify: bool) -> Array:
    def one(case: Case) -> Array:
        return model.logit(case.seen) if classify else model.means(case)

    return jax.lax.map(one, data, batch_size=AT_ONCE)
