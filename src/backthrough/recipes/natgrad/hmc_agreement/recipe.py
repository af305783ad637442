"""Agreement with Hamiltonian Monte Carlo: where several posteriors and NUTS find a network uncertain."""

from dataclasses import asdict, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from backthrough.core import ArgumentError, PRNGKey, check_choice, check_integer, check_positive
from backthrough.datasets import Regression, load
from backthrough.natgrad import NUTS, Draws, Fitted, fit_weights, r_hat, variance_correlation
from backthrough.recipes.natgrad.hmc_agreement.config import METHODS, Config
from backthrough.recipes.natgrad.hmc_agreement.published import published
from backthrough.recipes.natgrad.methods import likelihood_named, method_named
from backthrough.recipes.natgrad.splits import Splits, fit_splits, predict_splits, standardised_splits
from backthrough.train import Headline, Number, Run, mean_number

CONVERGED = 1.05  # an R-hat below it is usually taken for agreement of the chains
TUNED = ("bayes-by-backprop", "mc-dropout")


class Reference(NamedTuple):
    """What NUTS has found.

    Attributes:
        draws: Of the weights.
        r_hat: Split R-hat of the network's output at each test row.
        variance: Of the output at each test row.
    """

    draws: Draws
    r_hat: Float[np.ndarray, "row"]
    variance: Float[np.ndarray, "row"]

    @property
    def is_converged(self) -> bool:
        """Whether the chains agree at every test row."""
        return bool(self.r_hat.max() < CONVERGED)


class Compared(NamedTuple):
    """How a method agrees with the reference.

    Attributes:
        correlation: Pearson's, of the output's variances at the test rows, for each initialisation.
        ratio: Mean variance as a part of the reference's, likewise.
        variance: Of the output at each test row, of each initialisation.
        learning_rate: What was chosen; 0 for the method's own.
    """

    correlation: Float[np.ndarray, "start"]
    ratio: Float[np.ndarray, "start"]
    variance: Float[np.ndarray, "start row"]
    learning_rate: float


def run(config: Config, run: Run) -> None:
    """Draws by NUTS, then compares each method with the draws."""
    for name in ("n_hidden", "n_starts", "n_epochs", "batch_size", "n_draws"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("split", "seed"):
        check_integer(name, getattr(config, name), minimum=0)
    for name in config.methods:
        check_choice("method", name, METHODS)
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ArgumentError(f"methods must be different names, at least one, got {config.methods}")
    if not config.learning_rates:
        raise ArgumentError("learning_rates must have at least one")
    for rate in config.learning_rates:
        check_positive("learning_rates", rate)
    check_integer("n_samples", config.n_samples, minimum=4)
    sampler(config)
    table = load(config.data)
    if config.split >= len(table.train_index):
        raise ArgumentError(f"{config.data} has {len(table.train_index)} splits, there is no {config.split}")
    reference_key, *keys = jax.random.split(jax.random.key(config.seed), 1 + len(config.methods))
    reference = reference_of(config, table, key=reference_key)
    found = {
        name: compare(name, config, table, reference, key=key, run=run)
        for name, key in zip(config.methods, keys, strict=True)
    }
    draw(config, run, reference, found)
    numbers = numbers_of(config, reference, found)
    run.save_result(numbers, headline=headline(config, reference, found, numbers))


def sampler(config: Config) -> NUTS:
    """NUTS with the settings of the configuration."""
    return NUTS(
        n_chains=config.n_chains,
        n_warmup=config.n_warmup,
        n_samples=config.n_samples,
        thinning=config.thinning,
        max_tree_depth=config.max_tree_depth,
    )


def copies_of(config: Config, table: Regression) -> Splits:
    """The one split, standardised, once for each initialisation."""
    which = np.full(config.n_starts, config.split)
    repeated = replace(table, train_index=table.train_index[which], test_index=table.test_index[which])
    return standardised_splits(repeated, config.n_starts)


def network(config: Config, table: Regression, *, key: PRNGKey) -> eqx.nn.MLP:
    """One hidden layer of ReLUs."""
    return eqx.nn.MLP(table.x.shape[1], 1, config.n_hidden, 1, key=key)


def reference_of(config: Config, table: Regression, *, key: PRNGKey) -> Reference:
    """Draws by NUTS from the posterior given the training rows."""
    splits = copies_of(config, table)
    model_key, fit_key = jax.random.split(key)
    draws = fit_weights(
        network(config, table, key=model_key),
        likelihood_named("paper"),
        splits.x_train[0],
        splits.y_train[0],
        method=sampler(config),
        key=fit_key,
    )
    assert isinstance(draws, Draws)
    x = jnp.asarray(splits.x_test[0])
    variance = np.asarray(draws.predict(x).epistemic, float)
    return Reference(draws, np.asarray(r_hat(draws, x), float)[:, 0], variance[:, 0])


def compare(
    name: str,
    config: Config,
    table: Regression,
    reference: Reference,
    *,
    key: PRNGKey,
    run: Run | None = None,
) -> Compared:
    """Trains a method from each initialisation, and compares its variances with the reference's."""
    splits = copies_of(config, table)
    rate_key, fit_key, draw_key = jax.random.split(key, 3)
    rate = chosen_rate(name, config, table, splits, key=rate_key, run=run) if name in TUNED else None
    fitted = train(name, config, table, splits, learning_rate=rate, key=fit_key, run=run, folder=name)
    x = jnp.asarray(splits.x_test)
    p = predict_splits(fitted, x, n_samples=config.n_draws, key=draw_key)
    variance = np.asarray(p.means, float).var(1)[..., 0]
    agreed = [
        variance_correlation(
            reference.draws, one_of(fitted, start), x[0], n_samples=config.n_draws, key=draw_key
        )
        for start in range(config.n_starts)
    ]
    correlation, ratio = (
        np.array([getattr(a, part)[0] for a in agreed]) for part in ("correlation", "ratio")
    )
    return Compared(correlation, ratio, variance, rate or 0.0)


def chosen_rate(
    name: str, config: Config, table: Regression, splits: Splits, *, key: PRNGKey, run: Run | None = None
) -> float:
    """The learning rate with the largest log-likelihood on a tenth of the training rows, held out."""
    if len(config.learning_rates) == 1:
        return config.learning_rates[0]
    n_train = splits.x_train.shape[1]
    order = np.random.default_rng(config.seed).permutation(n_train)
    held, rest = order[: n_train // 10], order[n_train // 10 :]
    parts = splits._replace(
        x_train=splits.x_train[:, rest],
        y_train=splits.y_train[:, rest],
        x_test=splits.x_train[:, held],
        y_test=splits.y_train[:, held],
    )
    fit_key, draw_key = jax.random.split(key)
    scores = []
    for rate in config.learning_rates:
        folder = f"{name}-{rate:g}"
        fitted = train(name, config, table, parts, learning_rate=rate, key=fit_key, run=run, folder=folder)
        p = predict_splits(fitted, jnp.asarray(parts.x_test), n_samples=config.n_draws, key=draw_key)
        log_prob = eqx.filter_vmap(lambda p, y: p.log_prob(y))(p, jnp.asarray(parts.y_test))
        scores.append(float(log_prob.mean()))
    return config.learning_rates[int(np.argmax(scores))]


def train(
    name: str,
    config: Config,
    table: Regression,
    splits: Splits,
    *,
    learning_rate: float | None,
    key: PRNGKey,
    run: Run | None,
    folder: str,
) -> Fitted:
    """A network from each initialisation, all at once."""
    own_run = None
    if run is not None:
        settings = {**asdict(config), "method": name}
        own_run = Run(run.path / folder, config=settings, resume=run.is_resumed)
    return fit_splits(
        lambda key: network(config, table, key=key),
        likelihood_named("paper"),
        splits,
        method=method_named(name, learning_rate=learning_rate),
        n_epochs=config.n_epochs,
        batch_size=min(config.batch_size, splits.x_train.shape[1]),
        key=key,
        seed=config.seed,
        run=own_run,
        label=folder,
    )


def one_of(fitted: Fitted, index: int) -> Any:
    """One of several posteriors that are stacked along a leading axis."""

    def take(leaf: Array) -> Array:
        return leaf[index]

    arrays, static = eqx.partition(fitted, eqx.is_array)
    return eqx.combine(jax.tree_util.tree_map(take, arrays), static)


def numbers_of(config: Config, reference: Reference, found: dict[str, Compared]) -> list[Number]:
    """The reference's convergence, and each method's agreement with it."""
    n_rows = len(reference.r_hat)
    chains = f"{config.data}, split {config.split}: {config.n_chains} chains of {config.n_samples} draws"
    verdict = "" if reference.is_converged else "; THE CHAINS DO NOT AGREE, so they are no reference"
    over = f"over {n_rows} test rows{verdict}"
    numbers = [
        Number("largest R-hat", float(reference.r_hat.max()), "", f"{chains}, of the outputs {over}"),
        Number("median R-hat", float(np.median(reference.r_hat)), "", f"{chains}, of the outputs {over}"),
    ]
    for name, own in found.items():
        what = f"{config.data}, variances of the outputs by {name} and by NUTS, {over}"
        other = published(config.data, name)
        beside = "" if other is None else f"; the paper has {other} as recalled, not checked against its text"
        numbers.append(
            mean_number(f"correlation ({name})", own.correlation, "", f"Pearson's, {what}{beside}")
        )
        numbers.append(mean_number(f"variance ratio ({name})", own.ratio, "", f"ratio of means, {what}"))
        if own.learning_rate:
            chosen = "chosen on a tenth of the training rows"
            numbers.append(Number(f"learning rate ({name})", own.learning_rate, "", chosen))
    return numbers


def headline(
    config: Config, reference: Reference, found: dict[str, Compared], numbers: list[Number]
) -> Headline:
    """The first method's agreement beside the others', if there is something to agree with."""
    by_name = {number.name: number for number in numbers}
    first, *others = found
    name = f"correlation ({first})"
    sentence = f"On {config.data}, the variances of {first} and of NUTS correlate by {by_name[name]}"
    if others:
        best = max(others, key=lambda other: by_name[f"correlation ({other})"].value)
        sentence += f", those of {best} by {by_name[f'correlation ({best})']}"
        sentence += ", the most of the others" if len(others) > 1 else ""
    sentence += f"; {first}'s are {by_name[f'variance ratio ({first})'].value:.2f} of NUTS's in the mean."
    if not reference.is_converged:
        largest = f"largest R-hat {reference.r_hat.max():.2f}"
        sentence = f"The reference has NOT converged ({largest}), so this says little: {sentence}"
    return Headline(sentence, name, "variances.svg")


def draw(config: Config, run: Run, reference: Reference, found: dict[str, Compared]) -> None:
    """The variance of every test row, by NUTS and by each method."""
    n_columns = 2 if len(found) == 4 else min(3, len(found))
    n_rows = -(-len(found) // n_columns)
    size = (0.8 + 2.6 * n_columns, 0.5 + 2.7 * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(found) :]:
        axes.remove()
    ends = np.array([0.7, 1.4]) * [reference.variance.min(), reference.variance.max()]
    for axes, (name, own) in zip(panels.ravel(), found.items(), strict=False):
        axes.plot(ends, ends, color="0.6", linewidth=1)
        for start, variance in enumerate(own.variance):
            axes.plot(reference.variance, variance, ".", color=f"C{start % 6}", markersize=5, alpha=0.7)
        axes.set(xscale="log", yscale="log", xlim=ends)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelbottom=True)
        other = published(config.data, name)
        beside = "" if other is None else f" (paper {other:.2f})"
        axes.set_title(f"{name}\ncorrelation {own.correlation.mean():.2f}{beside}")
    figure.supxlabel("variance by NUTS", fontsize="medium")
    figure.supylabel("variance by the method", fontsize="medium")
    state = "have come together" if reference.is_converged else "have NOT come together"
    caption = (
        f"{config.data}, split {config.split}: variance of the standardised output at each test row. A "
        f"colour is an initialisation; on the line both agree. The chains {state} (largest R-hat "
        f"{reference.r_hat.max():.3f}). The paper's correlations are as recalled, not checked against its "
        "text."
    )
    run.figures.save_plot("variances", figure, caption=caption)
