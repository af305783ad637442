"""Active learning: the row that is labelled next is where the network is most uncertain, or any."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, DivergenceError, PRNGKey, Scalar, check_choice, check_integer
from backthrough.datasets import Regression, load
from backthrough.natgrad import MinibatchMethod, Problem
from backthrough.natgrad.fitted import call_model
from backthrough.recipes.natgrad.active_learning.config import METHODS, Config
from backthrough.recipes.natgrad.methods import NOISES, likelihood_named, method_named
from backthrough.recipes.natgrad.splits import mean_and_spread
from backthrough.train import Headline, Number, Run, mean_number


class Curves(NamedTuple):
    """Test RMSE in the units of the table, with as many rows labelled as at the start, one more, and so on.

    Attributes:
        random: Where the rows were chosen at random.
        active: Where each was the row of the pool with the largest predictive variance.
    """

    random: Float[np.ndarray, "run size"]
    active: Float[np.ndarray, "run size"]

    @property
    def gain(self) -> Float[np.ndarray, "run"]:
        """Random less active choice with all rows labelled, run by run."""
        return self.random[:, -1] - self.active[:, -1]


def run(config: Config, run: Run) -> None:
    """Labels rows by each method's variance and at random, and compares the test errors."""
    for name in ("n_labelled", "n_runs", "n_test"):
        check_integer(name, getattr(config, name), minimum=2)
    for name in ("n_acquired", "n_hidden", "n_steps", "batch_size", "n_draws"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    for name in config.methods:
        check_choice("method", name, METHODS)
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ArgumentError(f"methods must be different names, at least one, got {config.methods}")
    check_choice("noise", config.noise, NOISES)
    table = load(config.data)
    needed = config.n_labelled + config.n_acquired + config.n_test
    if len(table.y) < needed:
        raise ArgumentError(f"{config.data} has {len(table.y)} rows, fewer than {needed}")
    keys = jax.random.split(jax.random.key(config.seed), len(config.methods))
    found = {
        name: curves(name, config, table, key=key) for name, key in zip(config.methods, keys, strict=True)
    }
    draw(config, run, found)
    numbers = numbers_of(config, found)
    run.save_result(numbers, headline=headline(config, found, numbers))


def curves(name: str, config: Config, table: Regression, *, key: PRNGKey) -> Curves:
    """Test errors of a method while rows are labelled; both choices start from the same rows and weights."""
    orders, x = divisions(config, table)
    orders, x = np.concatenate([orders, orders]), jnp.asarray(np.concatenate([x, x]))
    is_active = np.arange(2 * config.n_runs) >= config.n_runs
    method = method_named(name, damping_style=config.damping_style)
    train_and_test = round_of(config, method, x[0, 0])
    y = jnp.asarray(table.y - table.y.mean(), x.dtype)
    rmse = []
    for n_labelled in range(config.n_labelled, config.n_labelled + config.n_acquired + 1):
        keys = jax.random.split(jax.random.fold_in(key, n_labelled), config.n_runs)
        tested = train_and_test(
            x, y, jnp.asarray(orders), jnp.asarray(n_labelled), jnp.concatenate([keys, keys])
        )
        rmse.append(np.asarray(tested.rmse, float))
        if not np.isfinite(rmse[-1]).all():
            raise DivergenceError(
                f"the test error of {name} became {rmse[-1].max()} with {n_labelled} rows labelled",
                step=n_labelled,
                quantity="test RMSE",
                state=None,
            )
        label_next(orders, np.asarray(tested.variance), is_active, n_labelled)
    errors = np.stack(rmse, axis=1)
    return Curves(errors[~is_active], errors[is_active])


def divisions(
    config: Config, table: Regression
) -> tuple[Int[np.ndarray, "run row"], Float[np.ndarray, "run row feature"]]:
    """A random order of the rows for each run, and the features, standardised by all but the test rows.

    The first rows of an order are labelled, the last are for the test, and those between are the pool.
    """
    orders, x = [], []
    for number in range(config.n_runs):
        order = np.random.default_rng([config.seed, number]).permutation(len(table.y))
        mean, spread = mean_and_spread(table.x[order[: -config.n_test]])
        orders.append(order)
        x.append((table.x - mean) / spread)
    return np.stack(orders), np.stack(x).astype(jnp.result_type(float))


def label_next(
    orders: Int[np.ndarray, "copy row"],
    variance: Float[np.ndarray, "copy place"],
    is_active: Any,
    n_labelled: int,
) -> None:
    """Moves a row of the pool behind the labelled ones: that of the largest variance, or one at random.

    Args:
        orders: Of the rows; changed in place. The pool is in random order, so its first row is a random one.
        variance: Of the row at each place of the order; minus infinity where it is labelled.
        is_active: Which copies choose by variance.
        n_labelled: Rows that are labelled.
    """
    copies = np.flatnonzero(is_active)
    chosen = variance[copies].argmax(1)
    there = orders[copies, n_labelled].copy()
    orders[copies, n_labelled] = orders[copies, chosen]
    orders[copies, chosen] = there


class Tested(NamedTuple):
    """What a network says that was trained on the labelled rows.

    Attributes:
        rmse: On the test rows, in the units of the table.
        variance: Of its output at each row that isn't a test row, in order; minus infinity where labelled.
    """

    rmse: Scalar
    variance: Float[Array, "place"]


def round_of(
    config: Config, method: MinibatchMethod, example: Float[Array, "feature"]
) -> Callable[..., Tested]:
    """A compiled function that trains a network on the labelled rows of each copy, and tests it.

    It takes any number of labelled rows, so that it is compiled once: the rows are padded to the largest
    number, and minibatches are drawn from those that are labelled. Targets are standardised by these.
    """
    likelihood = likelihood_named(config.noise)
    most = config.n_labelled + config.n_acquired

    def make_model(key: PRNGKey) -> eqx.nn.MLP:
        return eqx.nn.MLP(example.size, 1, config.n_hidden, 1, key=key)

    model = make_model(jax.random.key(0))

    def one(x: Array, y: Array, order: Array, n_labelled: Any, key: PRNGKey) -> Tested:
        model_key, init_key, fit_key, draw_key = jax.random.split(key, 4)
        is_labelled = jnp.arange(most) < n_labelled
        x_train, y_train = x[order[:most]], y[order[:most], None]
        y_mean = jnp.mean(y_train, where=is_labelled[:, None])
        y_scale = jnp.std(y_train, where=is_labelled[:, None])
        y_train = (y_train - y_mean) / y_scale
        problem = Problem(model, likelihood, call_model, n_labelled, 1.0, 1.0, example)
        with jax.ensure_compile_time_eval():  # it looks at the network, not at the data
            training = method.training(problem, config.n_steps)

        def step(state: Any, key: PRNGKey) -> tuple[Any, None]:
            row_key, step_key = jax.random.split(key)
            places = jnp.where(is_labelled, jax.random.uniform(row_key, (most,)), jnp.inf)
            rows = jnp.argsort(places)[: min(config.batch_size, config.n_labelled)]
            state, _ = training.step(state, (x_train[rows], y_train[rows]), key=step_key)
            return state, None

        state = training.init(make_model(model_key), key=init_key)
        arrays, static = eqx.partition(state, eqx.is_array)

        def array_step(arrays: Any, key: PRNGKey) -> tuple[Any, None]:
            state, _ = step(eqx.combine(arrays, static), key)
            return eqx.filter(state, eqx.is_array), None

        arrays, _ = jax.lax.scan(array_step, arrays, jax.random.split(fit_key, config.n_steps))
        fitted = training.finish(eqx.combine(arrays, static))
        p = fitted.predict(x[order], n_samples=config.n_draws, key=draw_key)
        known, tested = slice(None, -config.n_test), slice(-config.n_test, None)
        error = y_mean + y_scale * p.mean[tested, 0] - y[order[tested]]
        is_pool = jnp.arange(order.size - config.n_test) >= n_labelled
        return Tested(
            jnp.sqrt(jnp.mean(jnp.square(error))), jnp.where(is_pool, p.epistemic[known, 0], -jnp.inf)
        )

    return eqx.filter_jit(jax.vmap(one, in_axes=(0, None, 0, None, 0)))


def numbers_of(config: Config, found: dict[str, Curves]) -> list[Number]:
    """Final errors by either choice, and their paired difference."""
    n_labels = config.n_labelled + config.n_acquired
    what = f"{config.data}, {n_labels} rows labelled, mean over {config.n_runs} runs"
    numbers = []
    for name, own in found.items():
        over = f"{what}, units of the table"
        numbers.append(mean_number(f"RMSE ({name}, random)", own.random[:, -1], "", over))
        numbers.append(mean_number(f"RMSE ({name}, active)", own.active[:, -1], "", over))
        paired = f"{over}, random less active choice in the same run"
        gain = mean_number(f"gain ({name})", own.gain, "", paired)
        numbers.append(gain)
        if gain.standard_error:
            t = f"{what}, gain in standard errors"
            numbers.append(Number(f"paired t ({name})", gain.value / gain.standard_error, "", t))
    return numbers


def headline(config: Config, found: dict[str, Curves], numbers: list[Number]) -> Headline:
    """Whether the first method's choice is better than a random one."""
    by_name = {number.name: number for number in numbers}
    first = next(iter(found))
    active, gain = by_name[f"RMSE ({first}, active)"], by_name[f"gain ({first})"]
    error = gain.standard_error or 0.0
    verdict = "no clear difference"
    if abs(gain.value) > 2 * error:
        verdict = "better" if gain.value > 0 else "worse"
    sentence = (
        f"On {config.data}, {config.n_acquired} rows labelled where {first} is most uncertain give a test "
        f"RMSE of {active}, as many at random {by_name[f'RMSE ({first}, random)']} ({verdict}, run by run)."
    )
    return Headline(sentence, active.name, "rmse.svg")


def draw(config: Config, run: Run, found: dict[str, Curves]) -> None:
    """Test error against the rows labelled, by both choices."""
    figure = Figure(figsize=(0.8 + 3.4 * len(found), 3.4), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    labels = config.n_labelled + np.arange(config.n_acquired + 1)
    for axes, (name, own) in zip(panels, found.items(), strict=True):
        for place, (choice, errors) in enumerate(own._asdict().items()):
            mean, error = errors.mean(0), errors.std(0, ddof=1) / len(errors) ** 0.5
            axes.plot(labels, mean, color=f"C{place}", label=choice)
            axes.fill_between(labels, mean - error, mean + error, color=f"C{place}", alpha=0.2, linewidth=0)
        axes.set_title(name)
        axes.set_xlabel("rows labelled")
    panels[0].set_ylabel("test RMSE")
    panels[0].legend()
    caption = (
        f"{config.data}: mean and standard error over {config.n_runs} runs. Both choices start from the same "
        "rows and weights; the paired difference is surer than the bands."
    )
    run.figures.save_plot("rmse", figure, caption=caption)
