"""What the experiments on inference gaps share: the models, their training, and how gaps are measured."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import PRNGKey, PyTree, Scalar, check_integer, check_positive, log_odds
from backthrough.flows import auxiliary_coupling_flow, coupling_flow
from backthrough.latent import (
    ELBO,
    Annealing,
    AuxiliaryFlowEncoder,
    BernoulliModel,
    FlowEncoder,
    GapReport,
    GaussianEncoder,
    Optimisation,
    bound,
    inference_gaps,
)
from backthrough.recipes.digits import binarise, load_binary, load_digits
from backthrough.recipes.latent.gap_setting import Setting
from backthrough.train import Batches, Number, Run, fit, mean_number, mean_over_shards, schedule

TEST_SEED = 0  # one binarisation and one order of the held-out images for every run
FLOW_WIDTH = 50  # of the networks in a coupling
PRIOR_CHAINS = Annealing(300, schedule="sigmoid", start="prior")  # for a q without log_prob

Family = Literal["factorised", "flow"]
FAMILIES: tuple[Family, ...] = ("factorised", "flow")
Encoder = GaussianEncoder | FlowEncoder | AuxiliaryFlowEncoder


class Images(NamedTuple):
    """Images to train on, and others as zeros and ones.

    Attributes:
        train: Intensities, to be drawn from at each visit, or zeros and ones.
        held_out: Zeros and ones, shuffled.
        trained_on: Some of the training images as zeros and ones, as many as the gaps are measured on.
        what: Which images, and how they were binarised, in words.
    """

    train: Float[np.ndarray, "train pixel"]
    held_out: Float[np.ndarray, "held_out pixel"]
    trained_on: Float[np.ndarray, "trained_on pixel"]
    what: str


class State(NamedTuple):
    """What training carries: the encoder, or model and encoder; the optimiser; and the number of steps."""

    trained: PyTree
    memory: optax.OptState
    n_steps: Array


def check_setting(setting: Setting) -> None:
    """Refuses what cannot work, before anything is loaded."""
    for name in ("flow_depth", "hidden_size", "epochs", "batch_size"):
        check_integer(name, getattr(setting, name), minimum=1)
    for name in ("latent_size", "n_images", "n_samples"):
        check_integer(name, getattr(setting, name), minimum=2)
    for name in ("warm_up", "seed"):
        check_integer(name, getattr(setting, name), minimum=0)
    check_positive("learning_rate", setting.learning_rate)
    Optimisation(n_steps=setting.n_optimisation_steps)


def load_images(setting: Setting) -> Images:
    """The images of a setting."""
    rule = "threshold" if setting.binarisation == "threshold" else "static"
    if setting.data == "omniglot":
        train, held_out = load_binary("omniglot", seed=setting.seed)
    else:
        digits = load_digits(setting.data, seed=setting.seed)
        train, held_out = digits.train, binarise(digits.test, rule, seed=TEST_SEED)
    if setting.binarisation != "dynamic":
        train = binarise(train, rule, seed=setting.seed + 1)
    order = np.random.default_rng(TEST_SEED)
    held_out = held_out[order.permutation(len(held_out))[: setting.n_images]]
    trained_on = train[order.permutation(len(train))[: setting.n_images]]
    how = "cut at one half" if rule == "threshold" else "binarised once"
    what = f"of {Path(setting.data).name}, {how}; trained with {setting.binarisation} binarisation"
    return Images(train, held_out, binarise(trained_on, rule, seed=TEST_SEED + 1), what)


def start_model(setting: Setting, images: Images, *, key: PRNGKey) -> BernoulliModel:
    """The decoder before training; its last bias is the log-odds of the mean image, clipped."""
    mean = jnp.asarray(images.train.mean(0))
    network = eqx.nn.MLP(setting.latent_size, mean.size, setting.hidden_size, 2, jax.nn.elu, key=key)
    bias = log_odds(jnp.clip(mean, 0.001, 0.999))
    network = eqx.tree_at(lambda own: own.layers[-1].bias, network, bias)
    return BernoulliModel(network, setting.latent_size)


def start_encoder(
    family: Family, setting: Setting, images: Images, *, key: PRNGKey, width: int | None = None
) -> Encoder:
    """An encoder before training, with two hidden layers of `width`, the setting's by default; 0 for none.

    The condition of a flow is as long as z.
    """
    width = setting.hidden_size if width is None else width
    depth = 2 if width else 0
    size = setting.latent_size
    mean = jnp.asarray(images.train.mean(0))
    network_key, flow_key, reverse_key = jax.random.split(key, 3)
    n_outputs = 2 * size if family == "factorised" else 3 * size
    network = eqx.nn.MLP(mean.size, n_outputs, max(width, 1), depth, jax.nn.elu, key=network_key)
    if family == "factorised":
        return GaussianEncoder(network, mean)
    if setting.flow == "coupling":
        bijection = coupling_flow(
            size, setting.flow_depth, hidden_size=FLOW_WIDTH, condition_size=size, key=flow_key
        )
        return FlowEncoder(network, bijection, mean, size)
    bijection = auxiliary_coupling_flow(
        size, setting.flow_depth, hidden_size=FLOW_WIDTH, condition_size=size, key=flow_key
    )
    reverse = eqx.nn.MLP(2 * size, 2 * size, FLOW_WIDTH, 2, jax.nn.elu, key=reverse_key)
    return AuxiliaryFlowEncoder(network, bijection, reverse, mean, size)


def n_parameters(encoder: Encoder) -> int:
    """Of an encoder with all that belongs to its family, without the mean image."""
    leaves = jax.tree_util.tree_leaves(eqx.filter(encoder, eqx.is_inexact_array))
    return sum(leaf.size for leaf in leaves) - encoder.data_mean.size


def train_both(
    setting: Setting, run: Run, name: str, family: Family, images: Images, *, key: PRNGKey
) -> tuple[BernoulliModel, Encoder]:
    """Trains a model with an encoder of the family."""
    model_key, encoder_key, fit_key = jax.random.split(key, 3)
    model = start_model(setting, images, key=model_key)
    encoder = start_encoder(family, setting, images, key=encoder_key)
    return _train(setting, run, name, images, (model, encoder), key=fit_key)


def train_encoder(
    setting: Setting,
    run: Run,
    name: str,
    model: BernoulliModel,
    encoder: Encoder,
    images: Images,
    *,
    key: PRNGKey,
) -> Encoder:
    """Trains an encoder for a model that stays as it is."""
    return _train(replace(setting, warm_up=0), run, name, images, encoder, model=model, key=key)


def _train(
    setting: Setting,
    run: Run,
    name: str,
    images: Images,
    trained: PyTree,
    *,
    key: PRNGKey,
    model: BernoulliModel | None = None,
) -> Any:
    """Maximises the ELBO over what is trained, in a folder of the run's own."""
    steps_a_pass = max(1, len(images.train) // setting.batch_size)
    n_steps = setting.epochs * steps_a_pass
    optimiser = optax.adam(_rate(setting, steps_a_pass), eps=1e-4)
    is_dynamic = setting.binarisation == "dynamic"

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        binary_key, bound_key = jax.random.split(key)
        x = jax.random.bernoulli(binary_key, batch).astype(batch.dtype) if is_dynamic else batch
        weight = jnp.minimum(1.0, (state.n_steps + 1) / max(1, setting.warm_up * steps_a_pass))

        def loss(trained: PyTree) -> Scalar:
            own, encoder = trained if model is None else (model, trained)
            return -bound(own, encoder, x, key=bound_key, objective=ELBO(entropy_weight=weight)).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(state.trained)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.memory)
        trained = eqx.apply_updates(state.trained, updates)
        return State(trained, memory, state.n_steps + 1), {"ELBO (nats)/train": -value}

    own_run = Run(
        run.path / "trainings" / name,
        config={**asdict(setting), "training": name},
        resume=True,
        shards=run.shards,
        devices=run.devices,
    )
    memory = optimiser.init(eqx.filter(trained, eqx.is_inexact_array))
    fitted = fit(
        step,
        State(trained, memory, jnp.zeros((), int)),
        Batches(images.train, min(setting.batch_size, len(images.train)), seed=setting.seed),
        n_steps=n_steps,
        key=key,
        run=own_run,
        log_every=max(1, n_steps // 200),
        label=name,
    )
    return fitted.state.trained


def _rate(setting: Setting, steps_a_pass: int) -> optax.Schedule:
    """The ladder is that of Burda et al. 2015, cut off where the passes are over."""
    if setting.schedule != "ladder":
        return schedule(
            setting.schedule, setting.learning_rate, n_steps=setting.epochs * steps_a_pass, final=0.01
        )
    ends = np.cumsum([3**i for i in range(8)])
    rates = [optax.constant_schedule(setting.learning_rate * 10 ** (-i / 7)) for i in range(8)]
    return optax.join_schedules(rates, (ends[:-1] * steps_a_pass).tolist())


def measure(
    setting: Setting,
    run: Run,
    model: BernoulliModel,
    encoder: Encoder,
    x: Float[np.ndarray, "image pixel"],
    images: Images,
    *,
    key: PRNGKey,
) -> GapReport:
    """The gaps on these images; finished chunks stay in the run's folder."""
    is_auxiliary = isinstance(encoder, AuxiliaryFlowEncoder)
    return inference_gaps(
        model,
        encoder,
        x,
        key=key,
        n_samples=setting.n_samples,
        optimisation=Optimisation(n_steps=setting.n_optimisation_steps),
        annealing=PRIOR_CHAINS if is_auxiliary else None,
        data=images.what,
        keep=run.path / "gaps",
    )


def in_errors(name: str, difference: Float[np.ndarray, "image"], what: str) -> tuple[Number, Number]:
    """The mean of a difference paired by image, and how many of its standard errors it is from zero."""
    mean = mean_number(name, difference, "nats", what)
    ratio = mean.value / mean.standard_error if mean.standard_error else 0.0
    return mean, Number(f"{name}, in standard errors", ratio, "", f"{what}; the mean over its standard error")


def describe(report: GapReport, subject: str) -> str:
    """Over what, and by which estimators."""
    flagged = sum(map(bool, report.flags))
    return (
        f"{subject}; mean over {len(report.log_p):,} images {report.data}; {report.n_samples:,} draws an "
        f"ELBO; log p(x) by {report.importance.method} (q*) and {report.annealed.method}; "
        f"{flagged} images flagged"
    )


def stack_gaps(
    axes: Axes,
    places: Float[np.ndarray, "bar"],
    bars: Sequence[tuple[Float[np.ndarray, "image"], Float[np.ndarray, "image"]]],
) -> None:
    """Approximation gaps, and amortization gaps on top of them, with the standard errors of their means."""
    (lower, low_error), (upper, up_error) = (
        np.array([(own.mean(), own.std(ddof=1) / np.sqrt(len(own))) for own in part]).T
        for part in zip(*bars, strict=True)
    )
    axes.bar(places, lower, color="C0", label="approximation gap")
    axes.bar(places, upper, bottom=lower, color="C1", label="amortization gap")
    axes.errorbar(places - 0.12, lower, low_error, fmt="none", color="black", capsize=3)
    axes.errorbar(places + 0.12, lower + upper, up_error, fmt="none", color="black", capsize=3)
    axes.set_ylabel("nats below log p(x)")
    axes.set_ylim(0, 1.25 * max(1e-6, float((lower + upper).max())))
    axes.legend(loc="upper right", ncols=2)
