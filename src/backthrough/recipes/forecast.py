"""A forecast of your own irregular, gappy series by a latent ODE, beside naive forecasts."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, DataError, PRNGKey, Scalar, check_integer, check_positive
from backthrough.datasets import SeriesTable, read_series
from backthrough.latent import FactorisedGaussian, LatentODE, Observations, RecurrentEncoder, elbo
from backthrough.ode import Dopri5
from backthrough.recipes.windows import Scale, Window, cut, forecast_windows, measure_scale, sizes, stack
from backthrough.train import Batches, Number, Run, fit, mean_number, mean_over_shards, schedule

BAND = (0.1, 0.9)
SHOWN = 4


@dataclass(frozen=True)
class Config:
    """Learns how windows of the series go on; the last observations of each are held out."""

    data: str = ""
    """A CSV file with a header line."""
    time: str = ""
    """The column of times: numbers or ISO dates."""
    columns: tuple[str, ...] = ()
    """The columns to forecast; all others when none is named."""
    series: str = ""
    """The column that names the series of each row, if there are several."""
    horizon: int = 0
    """Rows held out, and forecast beyond the end; 0 for a tenth of the shortest series, at most 50."""
    context: int = 0
    """Rows that a forecast sees; three horizons for 0, or what there is."""
    n_steps: int = 1500
    """Steps of Adam."""
    batch_size: int = 32
    """Windows in a batch."""
    learning_rate: float = 5e-3
    """The largest; it falls along half a cosine."""
    latent_size: int = 16
    """Latent dimensions."""
    hidden_size: int = 32
    """Width of vector field, decoder and encoder."""
    tolerance: float = 1e-3
    """Of the solver."""
    n_draws: int = 200
    """Draws behind the bands."""
    seed: int = 0
    """Determines weights, order and draws."""


SCALES = {"quick": Config(n_steps=500), "full": Config()}
DEMO = None


class Field(eqx.Module):
    """dz/dt = A z plus a network; A begins as rotations from slow to as fast as the rows can tell.

    Begun from a small network alone, a forecast of several cycles stays at the mean for thousands of steps.

    Attributes:
        matrix: A, shape (latent, latent).
        network: The rest; its outputs begin small.
    """

    matrix: Float[Array, "latent latent"]
    network: eqx.nn.MLP

    def __init__(self, size: int, width: int, *, n_rows: int, key: PRNGKey):
        pairs = size // 2
        fastest = max(2.0, n_rows * np.pi / 3)  # a cycle of six rows
        speeds = jnp.geomspace(1.0, fastest, pairs)
        first, second = jnp.arange(pairs) * 2, jnp.arange(pairs) * 2 + 1
        matrix = jnp.zeros((size, size)).at[first, second].set(speeds).at[second, first].set(-speeds)
        self.matrix = matrix
        self.network = eqx.nn.MLP(size, size, width, 2, jnp.tanh, key=key)

    def __call__(self, t: Scalar, z: Float[Array, "latent"], args: None) -> Float[Array, "latent"]:
        """dz/dt."""
        return self.matrix @ z + jnp.tanh(self.network(z))


class ContextEncoder(eqx.Module):
    """Reads the context of a window forwards, up to the moment from which is forecast.

    Time is 0 there. The encoder reads backwards, so it is given the context with its time turned round.
    """

    encoder: RecurrentEncoder
    n_context: int = eqx.field(static=True)

    def __call__(self, x: Observations) -> FactorisedGaussian:
        """q(z0 | context)."""
        times, values, mask = (leaf[: self.n_context][::-1] for leaf in x)
        return self.encoder(Observations(-times, values, mask))


class HorizonModel(eqx.Module):
    """p(z0) p(horizon | z0): a latent ODE of what comes after the context."""

    latent_ode: LatentODE
    n_context: int = eqx.field(static=True)

    def log_prior(self, z: Float[Array, "latent"]) -> Scalar:
        """log p(z0)."""
        return self.latent_ode.log_prior(z)

    def sample_prior(self, *, key: PRNGKey) -> Float[Array, "latent"]:
        """One z0."""
        return self.latent_ode.sample_prior(key=key)

    def log_likelihood(self, x: Observations, z: Float[Array, "latent"]) -> Scalar:
        """log p(horizon | z0)."""
        return self.latent_ode.log_likelihood(self.after(x), z)

    def after(self, x: Observations) -> Observations:
        """What comes after the context."""
        return Observations(*(leaf[self.n_context :] for leaf in x))


class Networks(NamedTuple):
    """What is trained."""

    model: HorizonModel
    encoder: ContextEncoder


class State(NamedTuple):
    """What training carries."""

    networks: Networks
    optimiser: optax.OptState


class Forecast(NamedTuple):
    """What comes after the context of a window of each series, in the units of the table.

    Attributes:
        kind: "held out" or "ahead".
        windows: One for each series.
        mean: Of the draws.
        low: Lower end of the band.
        high: Upper end.
    """

    kind: str
    windows: list[Window]
    mean: Float[np.ndarray, "window time column"]
    low: Float[np.ndarray, "window time column"]
    high: Float[np.ndarray, "window time column"]


def run(config: Config, run: Run) -> None:
    """Trains on windows, measures the held-out rows, and writes how every series goes on."""
    if not config.data or not config.time:
        raise ArgumentError("forecast needs a table and its time column: --data FILE.csv --time NAME")
    for name in ("n_steps", "batch_size", "latent_size", "hidden_size", "n_draws"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("seed", "horizon", "context"):
        check_integer(name, getattr(config, name), minimum=0)
    check_positive("tolerance", config.tolerance)
    table = read_series(config.data, time=config.time, columns=config.columns, series=config.series)
    context, horizon = sizes(table, config.context, config.horizon)
    windows = cut(table, context, horizon)
    scale = measure_scale(windows, context)
    networks = train(config, run, stack(windows, scale, context), context)
    held, ahead = forecast_windows(table, context, horizon)
    forecasts = [
        draw(config, networks, scale, kind, own, context)
        for kind, own in (("held out", held), ("ahead", ahead))
    ]
    run.save_result(measure(table, len(windows), scale, forecasts[0], context))
    write(run, table, forecasts, context)
    show(run, table, forecasts, context)


def train(config: Config, run: Run, windows: Observations, n_context: int) -> Networks:
    """Maximises the ELBO of what comes after the context, under a posterior that sees the context."""
    *keys, fit_key = jax.random.split(jax.random.key(config.seed), 4)
    n_channels, size, width = windows.values.shape[-1], config.latent_size, config.hidden_size
    n_rows = windows.times.shape[1] - n_context
    field = Field(size, width, n_rows=n_rows, key=keys[0])
    decoder = eqx.nn.MLP(size, n_channels, width, 1, jnp.tanh, key=keys[1])
    solver = Dopri5(rtol=config.tolerance, atol=config.tolerance)
    log_scale = jnp.full(n_channels, -1.0)
    model = LatentODE(field, decoder, latent_size=size, log_scale=log_scale, solver=solver)
    encoder = RecurrentEncoder(n_channels, size, hidden_size=width, key=keys[2])
    networks = Networks(HorizonModel(model, n_context), ContextEncoder(encoder, n_context))
    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps, warm_up=config.n_steps // 20)
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(rate))
    state = State(networks, optimiser.init(eqx.filter(networks, eqx.is_inexact_array)))

    def step(state: State, batch: Any, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        def loss(networks: Networks) -> Scalar:
            return -elbo(networks.model, networks.encoder, Observations(*batch), key=key).mean()

        value, gradients = eqx.filter_value_and_grad(loss)(state.networks)
        n_observed = jnp.mean(jnp.sum(batch[2][:, n_context:], axis=(1, 2)))
        scaled = jax.tree_util.tree_map(lambda leaf: leaf / n_observed, mean_over_shards(gradients))
        updates, memory = optimiser.update(scaled, state.optimiser)
        return State(eqx.apply_updates(state.networks, updates), memory), {
            "ELBO (nats an observation)/train": -value / n_observed
        }

    fitted = fit(
        step,
        state,
        Batches(tuple(windows), min(config.batch_size, len(windows.times)), seed=config.seed),
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        log_every=max(1, config.n_steps // 200),
        label="training",
    )
    return fitted.state.networks


def draw(
    config: Config, networks: Networks, scale: Scale, kind: str, windows: list[Window], n_context: int
) -> Forecast:
    """Means and bands of what comes after the context."""

    @eqx.filter_jit
    def paths(networks: Networks, x: Observations, key: PRNGKey) -> tuple[Array, Array]:
        model, encoder = networks
        posterior = encoder(x)

        def one(key: PRNGKey) -> tuple[Array, Array]:
            z_key, noise_key = jax.random.split(key)
            z, _ = posterior.sample_and_log_prob(key=z_key)
            means = model.latent_ode.means(z, model.after(x).times)
            return means, means + jnp.exp(model.latent_ode.log_scale) * jax.random.normal(
                noise_key, means.shape
            )

        return jax.vmap(one)(jax.random.split(key, config.n_draws))

    batch = stack(windows, scale, n_context)
    parts = []
    for index, window in enumerate(windows):
        x = Observations(*(jnp.asarray(leaf[index]) for leaf in batch))
        means, noisy = map(np.asarray, paths(networks, x, jax.random.key(config.seed + 1)))
        centre = scale.centre(window, n_context)
        rows = [means.mean(0), *np.quantile(noisy, BAND, axis=0)]
        parts.append([centre + scale.spread * part for part in rows])
    return Forecast(kind, windows, *(np.stack(own) for own in zip(*parts, strict=True)))


def naive(
    windows: list[Window], scale: Scale, n_context: int
) -> dict[str, Float[np.ndarray, "window time column"]]:
    """What needs no model: the last value, the mean, and the straight line of each context.

    For a column that is missing in a context it is the mean of the training windows.
    """
    out: dict[str, list] = {"last value": [], "mean": [], "line": []}
    for window in windows:
        times, values = window.times[:n_context], window.values[:n_context]
        after = window.times[n_context:]
        last, mean, line = [], [], []
        for column, level in zip(values.T, scale.level, strict=True):
            seen = np.isfinite(column)
            own, at = (column[seen], times[seen]) if seen.any() else (np.full(1, level), times[:1])
            last.append(np.full(len(after), own[-1]))
            mean.append(np.full(len(after), own.mean()))
            slope = np.polyfit(at - at[-1], own, 1) if len(own) > 1 else np.array([0.0, own[0]])
            line.append(np.polyval(slope, after - at[-1]))
        for name, columns in (("last value", last), ("mean", mean), ("line", line)):
            out[name].append(np.stack(columns, axis=1))
    return {name: np.stack(own) for name, own in out.items()}


def measure(
    table: SeriesTable, n_windows: int, scale: Scale, found: Forecast, n_context: int
) -> list[Number]:
    """The held-out error of the forecast and of the naive ones, and what its band covers."""
    truth = np.stack([window.values[n_context:] for window in found.windows])
    what = (
        f"root mean square over the last {truth.shape[1]} rows of {len(truth)} series, in the table's units"
    )
    guesses = {"latent ODE": found.mean, **naive(found.windows, scale, n_context)}
    numbers = []
    for index, column in enumerate(table.names):
        label = f", {column}" if len(table.names) > 1 else ""
        seen = np.isfinite(truth[..., index])
        if not seen.any():
            raise DataError(f"{table.source}: column {column!r} has no value among the held-out rows")
        for name, guess in guesses.items():
            error = (guess[..., index] - truth[..., index])[seen]
            numbers.append(
                Number(f"held-out error ({name}{label})", float(np.sqrt(np.mean(error**2))), "", what)
            )
        inside = (truth[..., index] >= found.low[..., index]) & (truth[..., index] <= found.high[..., index])
        numbers.append(
            mean_number(
                f"inside the band{label}", inside[seen].astype(float), "", "held-out rows; 0.8 is due"
            )
        )
    numbers.append(Number("windows", float(n_windows), "", f"trained on; {n_context} rows of context"))
    return numbers


def shown_time(table: SeriesTable, times: Float[np.ndarray, "time"]) -> Any:
    """Times as the table writes them."""
    return pd.to_datetime(times, unit="D").round("s") if table.dated else times


def write(run: Run, table: SeriesTable, forecasts: list[Forecast], n_context: int) -> None:
    """`forecast.csv`: a line for each series, time and column."""
    parts = []
    for forecast in forecasts:
        for index, (name, window) in enumerate(zip(table.ids, forecast.windows, strict=True)):
            for channel, column in enumerate(table.names):
                part = {
                    "series": name,
                    "time": shown_time(table, window.times[n_context:]),
                    "column": column,
                    "kind": forecast.kind,
                    "observed": window.values[n_context:, channel],
                    "forecast": forecast.mean[index, :, channel],
                    "low": forecast.low[index, :, channel],
                    "high": forecast.high[index, :, channel],
                }
                parts.append(pd.DataFrame(part))
    pd.concat(parts).to_csv(run.path / "forecast.csv", index=False)


def show(run: Run, table: SeriesTable, forecasts: list[Forecast], n_context: int) -> None:
    """Draws the ends of the first series and columns with both forecasts."""
    panels = [(s, c) for s in range(len(table.ids)) for c in range(len(table.names))][:SHOWN]
    figure = Figure(figsize=(8.5, 1 + 2.2 * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (index, channel) in zip(all_axes, panels, strict=True):
        recent = slice(-3 * (n_context + len(forecasts[0].windows[0].times)) // 2, None)
        times, values = table.times[index][recent], table.values[index][recent, channel]
        axes.plot(shown_time(table, times), values, ".", color="0.35", markersize=4, label="observed")
        for forecast, colour in zip(forecasts, ("C0", "C1"), strict=True):
            at = shown_time(table, forecast.windows[index].times[n_context:])
            low, high = forecast.low[index, :, channel], forecast.high[index, :, channel]
            axes.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(at, forecast.mean[index, :, channel], color=colour, label=f"forecast, {forecast.kind}")
        axes.set_ylabel(table.names[channel])
        if len(table.ids) > 1:
            axes.set_title(table.ids[index], fontsize="medium")
    all_axes[0].legend(fontsize="small", loc="upper left")
    more = len(table.ids) * len(table.names) - len(panels)
    caption = "The end of the series, the forecast of the rows held out, and beyond; bands hold 80 %."
    caption += f" {more} more are in forecast.csv." if more else ""
    run.figures.save_plot("forecast", figure, caption=caption)
