"""A latent ODE beside an RNN on irregularly observed spirals, and beyond the data (Chen et al. 2018)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_positive
from backthrough.latent import LatentODE, Observations, RecurrentEncoder, elbo
from backthrough.ode import Dopri5
from backthrough.recipes.latent.spirals.config import Config
from backthrough.recipes.latent.spirals.data import LENGTH, Spirals, draw_spirals
from backthrough.train import Batches, Headline, Number, Run, fit, mean_over_shards, schedule

TEST_SEED = 10**6
SHOWN = 4


class Field(eqx.Module):
    """dz/dt, the same at all times: two hidden layers of ELU."""

    network: eqx.nn.MLP

    def __call__(self, t: Scalar, z: Float[Array, "latent"], args: None) -> Float[Array, "latent"]:
        """dz/dt."""
        return self.network(z)


class Forecaster(eqx.Module):
    """An RNN that predicts the next point from those before and the time to it, then goes on with its own.

    Attributes:
        cell: Sees a point and the time to the next.
        head: The move to the next point, or its rate.
        mean_gap: The unit of time.
        rates: Whether the head's number is multiplied by the time; the paper's RNN has the time as an input
            only.
    """

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear
    mean_gap: float = eqx.field(static=True)
    rates: bool = eqx.field(static=True)

    def __init__(self, hidden_size: int, *, mean_gap: float, rates: bool, key: PRNGKey):
        cell_key, head_key = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(3, hidden_size, key=cell_key)
        self.head = eqx.nn.Linear(hidden_size, 2, key=head_key)
        self.mean_gap, self.rates = mean_gap, rates

    def read(self, x: Observations) -> tuple[Float[Array, "hidden"], Float[Array, "time 2"]]:
        """The state before the last point is read, and the prediction of every point but the first."""

        def step(state: Array, row: tuple) -> tuple[Array, Array]:
            value, gap = row
            state, move = self._move(state, value, gap)
            return state, value + move

        rows = (jnp.asarray(x.values)[:-1], jnp.diff(jnp.asarray(x.times)))
        return jax.lax.scan(step, jnp.zeros(self.cell.hidden_size), rows)

    def loss(self, x: Observations) -> Scalar:
        """Mean squared error of the next point."""
        return jnp.mean(jnp.square(self.read(x)[1] - jnp.asarray(x.values)[1:]))

    def forecast(self, x: Observations, times: Float[Array, "time"]) -> Float[Array, "time 2"]:
        """The points at later times, each from the one before."""
        state, _ = self.read(x)

        def step(carry: tuple, gap: Scalar) -> tuple[tuple, Array]:
            state, value = carry
            state, move = self._move(state, value, gap)
            return (state, value + move), value + move

        gaps = jnp.diff(times, prepend=jnp.asarray(x.times)[-1])
        return jax.lax.scan(step, (state, jnp.asarray(x.values)[-1]), gaps)[1]

    def _move(self, state: Array, value: Array, gap: Scalar) -> tuple[Array, Array]:
        """The next state, and by how much the point moves."""
        gap = gap / self.mean_gap
        state = self.cell(jnp.append(value, gap), state)
        return state, self.head(state) * (gap if self.rates else 1.0)


class Networks(NamedTuple):
    """All that is trained."""

    model: LatentODE
    encoder: RecurrentEncoder
    rnn: Forecaster
    rate_rnn: Forecaster


class State(NamedTuple):
    """What training carries."""

    networks: Networks
    optimiser: optax.OptState


def run(config: Config, run: Run) -> None:
    """Trains both, measures them between and beyond the points, and draws some spirals."""
    for name in ("n_train", "n_test", "n_steps", "batch_size", "latent_size", "hidden_size"):
        check_integer(name, getattr(config, name), minimum=1)
    if not 2 <= config.n_points <= LENGTH:
        raise ArgumentError(f"n_points must lie between 2 and {LENGTH}, got {config.n_points}")
    check_integer("seed", config.seed, minimum=0)
    check_positive("tolerance", config.tolerance)
    networks = train(config, run, draw_spirals(config.n_train, config.n_points, seed=config.seed))
    test = draw_spirals(config.n_test, config.n_points, ahead=LENGTH, seed=[TEST_SEED, config.seed])
    latent, rnn, rate_rnn = predict(networks, test)
    within, beyond = slice(0, LENGTH), slice(LENGTH, None)
    what = f"of the true curve at 100 times, over {config.n_test:,} fresh spirals; {config.n_points} points"

    def error(name: str, found: np.ndarray, part: slice) -> Number:
        squares = np.square(found - test.truth)[:, part].mean(axis=(1, 2))
        value = float(squares.mean() ** 0.5)
        standard_error = float(squares.std(ddof=1) / len(squares) ** 0.5 / 2 / value)
        return Number(name, value, "", what, standard_error, len(squares))

    ours = error("extrapolation RMSE (latent ODE)", latent, beyond)
    other = error("extrapolation RMSE (RNN)", rnn, beyond)
    numbers = [
        error("interpolation RMSE (latent ODE)", latent, within),
        ours,
        other,
        error("extrapolation RMSE (RNN of rates)", rate_rnn, beyond),
        Number("RNN over latent ODE", other.value / ours.value, "", "ratio of extrapolation RMSE"),
    ]
    show(run, test, latent, rnn)
    better = ours.value < other.value
    sentence = (
        f"Continued beyond the {config.n_points} points seen, the latent ODE is off by {ours.value:.3g}, an "
        f"RNN by {other.value:.3g} (root mean square): {'the ODE' if better else 'the RNN'} is better."
    )
    run.save_result(numbers, headline=Headline(sentence, ours.name, "spirals.svg"))


def start(config: Config, *, key: PRNGKey) -> Networks:
    """The networks before training, of the paper's sizes."""
    keys = jax.random.split(key, 4)
    width, size = config.hidden_size, config.latent_size
    field = Field(eqx.nn.MLP(size, size, width, 2, jax.nn.elu, key=keys[0]))
    decoder = eqx.nn.MLP(size, 2, width, 1, jax.nn.relu, key=keys[1])
    solver = Dopri5(rtol=config.tolerance, atol=config.tolerance)
    model = LatentODE(field, decoder, latent_size=size, log_scale=float(np.log(0.3)), solver=solver)
    hidden = width + width // 4
    encoder = RecurrentEncoder(2, size, hidden_size=hidden, key=keys[2])
    rnns = (Forecaster(hidden, mean_gap=1 / config.n_points, rates=own, key=keys[3]) for own in (False, True))
    return Networks(model, encoder, *rnns)


def train(config: Config, run: Run, spirals: Spirals) -> Networks:
    """Maximises the ELBO of the latent ODE, and minimises the error of the RNN's next point."""
    model_key, fit_key = jax.random.split(jax.random.key(config.seed))
    networks = start(config, key=model_key)
    warm_up = config.n_steps // 20
    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps, warm_up=warm_up)
    optimiser = optax.chain(optax.clip_by_global_norm(1e3), optax.adam(rate))
    state = State(networks, optimiser.init(eqx.filter(networks, eqx.is_inexact_array)))

    def step(state: State, batch: Any, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        def loss(networks: Networks) -> tuple[Scalar, tuple[Scalar, Scalar]]:
            bound = elbo(networks.model, networks.encoder, batch, key=key).mean()
            error = jax.vmap(networks.rnn.loss)(batch).mean()
            other = jax.vmap(networks.rate_rnn.loss)(batch).mean()
            return error + other - bound, (bound, error)

        (_, (bound, error)), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(state.networks)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        metrics = {"ELBO (nats)/train": bound, "RNN's squared error/train": error}
        return State(eqx.apply_updates(state.networks, updates), memory), metrics

    fitted = fit(
        step,
        state,
        Batches(spirals.seen, min(config.batch_size, config.n_train), seed=config.seed),
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        log_every=max(1, config.n_steps // 200),
        label="training",
    )
    return fitted.state.networks


def predict(networks: Networks, spirals: Spirals) -> list[Float[np.ndarray, "spiral time 2"]]:
    """Curves over window and continuation, of both RNNs with NaN in the window."""
    times = jnp.asarray(spirals.times, jnp.float32)

    @eqx.filter_jit
    def curves(networks: Networks, seen: Any) -> tuple[Array, Array, Array]:
        def one(x: Observations) -> tuple[Array, Array, Array]:
            mean = networks.encoder(x).mean
            ahead = times[LENGTH:]
            rnns = (networks.rnn.forecast(x, ahead), networks.rate_rnn.forecast(x, ahead))
            return networks.model.means(mean, times), *rnns

        return jax.vmap(one)(seen)

    seen = jax.tree_util.tree_map(jnp.asarray, spirals.seen)
    latent, *ahead = map(np.asarray, curves(networks, seen))
    return [latent, *(np.concatenate([np.full_like(own, np.nan), own], axis=1) for own in ahead)]


def show(
    run: Run,
    test: Spirals,
    latent: Float[np.ndarray, "spiral time 2"],
    rnn: Float[np.ndarray, "spiral time 2"],
) -> None:
    """Draws a few spirals: what was seen, what is true, and how both go on."""
    figure = Figure(figsize=(6.5, 6.6), layout="constrained")
    panels = figure.subplots(2, SHOWN // 2).ravel()
    for index, axes in enumerate(panels):
        truth = test.truth[index]
        axes.plot(*truth.T, color="0.75", linewidth=4, label="truth")
        axes.plot(*latent[index, :LENGTH].T, color="C0", label="latent ODE")
        axes.plot(*latent[index, LENGTH - 1 :].T, "--", color="C0", label="continued")
        axes.plot(*rnn[index, LENGTH:].T, ":", color="C3", label="RNN, continued")
        axes.plot(*np.asarray(test.seen.values[index]).T, "o", color="black", markersize=2.5, label="seen")
        middle = truth.mean(0)
        reach = 0.75 * np.ptp(truth, axis=0).max()
        axes.set(
            xlim=(middle[0] - reach, middle[0] + reach),
            ylim=(middle[1] - reach, middle[1] + reach),
            aspect="equal",
        )
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    caption = (
        "Spirals of which only the noisy dots were seen, at irregular times; their continuation by the "
        "latent ODE (dashed) and by an RNN (dotted)."
    )
    run.figures.save_plot("spirals", figure, caption=caption)
