"""An ODE-Net beside a residual network on digits: accuracy and evaluations (Chen et al. 2018, sec. 3)."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from backthrough.core import (
    ArgumentError,
    PRNGKey,
    PyTree,
    Scalar,
    check_choice,
    check_integer,
    check_positive,
)
from backthrough.datasets import Images, load
from backthrough.ode import Adaptive, Bosh3, Dopri5
from backthrough.recipes.ode.mnist.config import BODIES, Config
from backthrough.recipes.ode.mnist.networks import Classifier, n_parameters, with_solver
from backthrough.train import (
    Batches,
    Headline,
    Number,
    ProgressBar,
    Run,
    fit,
    mean_number,
    mean_over_shards,
    schedule,
)

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
FINE = 1e-5  # Bosh3 makes so many steps for it that their number tells images apart
CHUNK = 250  # images solved at once


class State(NamedTuple):
    """What training carries for each network."""

    model: Classifier
    optimiser: optax.OptState


class Solved(NamedTuple):
    """Test images at one tolerance.

    Attributes:
        logits: Shape (image, class).
        evaluations: Of the field, for each image.
        seconds: For one image, in the quickest chunk.
    """

    logits: Float[np.ndarray, "image class"]
    evaluations: Int[np.ndarray, "image"]
    seconds: float

    def losses(self, labels: Int[np.ndarray, "image"]) -> Float[np.ndarray, "image"]:
        """The negative log-likelihood of each label."""
        return -np.asarray(jax.nn.log_softmax(self.logits))[np.arange(len(labels)), labels]

    def right(self, labels: Int[np.ndarray, "image"]) -> Float[np.ndarray, "image"]:
        """1 where the label is the most probable class."""
        return (self.logits.argmax(1) == labels).astype(np.float64)


def run(config: Config, run: Run) -> None:
    """Trains, tests, and solves test images to several tolerances."""
    for name in ("n_steps", "batch_size", "n_test", "n_measured"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("seed", "shift"):
        check_integer(name, getattr(config, name), minimum=0)
    check_positive("tolerance", config.tolerance)
    if not config.models or len(set(config.models)) < len(config.models):
        raise ArgumentError(f"models must name each network once, got {config.models}")
    for name in config.models:
        check_choice("model", name, BODIES)
    data = load(config.data)
    if not isinstance(data, Images):
        raise ArgumentError(f"{config.data} has no labelled pictures; use mnist or mnist-small")
    order = np.random.default_rng(0).permutation(len(data.test_images))[: config.n_test]
    images, labels = data.test_images[order], data.test_labels[order].astype(int)
    models = train(config, run, data)
    numbers, right = [], {}
    for name, model in models.items():
        right[name] = solve(model, images).right(labels)
        what = f"of {len(labels):,} test images of {config.data} after {config.n_steps:,} steps"
        numbers.append(mean_number(f"test accuracy ({name})", right[name], "", what))
        numbers.append(Number(f"parameters ({name})", float(n_parameters(model)), "", "all that is trained"))
    for rival in ("ResNet", "RK-Net"):
        if "ODE-Net" in models and rival in models:
            what = f"test accuracy of the ODE-Net less that of the {rival}, on the same images"
            numbers.append(mean_number(f"ODE-Net less {rival}", right["ODE-Net"] - right[rival], "", what))
    if "ODE-Net" in models:
        n = min(config.n_measured, len(labels))
        model, sweep = models["ODE-Net"], {}
        with ProgressBar("tolerances", len(TOLERANCES) + 1) as bar:
            for tolerance in TOLERANCES:
                sweep[tolerance] = solve(model, images[:n], Dopri5(rtol=tolerance, atol=tolerance))
                bar.update(len(sweep))
            fine = solve(model, images[:n], Bosh3(rtol=FINE, atol=FINE))
        numbers += measure(sweep, fine, labels[:n])
        show(run, sweep, fine, images[:n], labels[:n])
    picture = "adapts.svg" if "ODE-Net" in models else ""
    run.save_result(numbers, headline=headline(config, numbers, picture))


def headline(config: Config, numbers: Sequence[Number], picture: str) -> Headline:
    """The accuracy of the first network, beside the others' and what they cost in parameters."""
    value = {number.name: number.value for number in numbers}
    parts = [
        f"{name} {value[f'test accuracy ({name})']:.1%} with {value[f'parameters ({name})']:,.0f} parameters"
        for name in config.models
    ]
    sentence = f"Test images of {config.data} told right: {'; '.join(parts)}."
    return Headline(sentence, f"test accuracy ({config.models[0]})", picture)


def train(config: Config, run: Run, data: Images) -> dict[str, Classifier]:
    """Minimises the cross-entropy of all networks, each with its own optimiser."""
    model_key, fit_key = jax.random.split(jax.random.key(config.seed))
    rate = schedule("cosine", config.learning_rate, n_steps=config.n_steps, warm_up=config.n_steps // 20)
    optimiser = optax.adam(rate)

    def start(name: str) -> State:
        model = Classifier(name, config.channels, tolerance=config.tolerance, key=model_key)
        return State(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)))

    def loss(model: Classifier, batch: dict[str, Array]) -> tuple[Scalar, dict[str, Scalar]]:
        logits, cost = jax.vmap(model)(batch["image"] / jnp.float32(255))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        forward, backward = jnp.mean(cost.astype(losses.dtype), axis=0)
        return jnp.mean(losses), {"forward": forward, "backward": backward}

    def step(state: dict[str, State], batch: PyTree, *, key: PRNGKey) -> tuple[dict, dict[str, Scalar]]:
        new, metrics = {}, {}
        if config.shift:
            batch = batch | {"image": moved(batch["image"], config.shift, key=key)}
        for name, (model, memory) in state.items():
            (value, cost), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(model, batch)
            updates, memory = optimiser.update(mean_over_shards(gradients), memory)
            new[name] = State(eqx.apply_updates(model, updates), memory)
            metrics[f"cross-entropy (nats)/{name}"] = value
            if name == "ODE-Net":
                metrics |= {f"evaluations an image/{way}": number for way, number in cost.items()}
        return new, metrics

    rows = {"image": data.train_images, "label": data.train_labels.astype(np.int32)}
    fitted = fit(
        step,
        {name: start(name) for name in config.models},
        Batches(rows, config.batch_size, seed=config.seed),
        n_steps=config.n_steps,
        key=fit_key,
        run=run,
        log_every=max(1, config.n_steps // 100),
        label="training",
    )
    return {name: state.model for name, state in fitted.state.items()}


def moved(
    images: UInt8[Array, "image height width"], most: int, *, key: PRNGKey
) -> UInt8[Array, "image height width"]:
    """Each image moved by up to `most` pixels each way at random; what comes in is black."""
    height, width = images.shape[1:]
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * most + 1)
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most)))
    return jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, corner, (height, width)))(
        padded, corners
    )


@eqx.filter_jit
def logits_and_costs(
    model: Classifier, images: Array | np.ndarray
) -> tuple[Float[Array, "image class"], Int[Array, "image 2"]]:
    """Of several images."""
    return jax.vmap(model)(images / jnp.float32(255))


def solve(model: Classifier, images: np.ndarray, solver: Adaptive | None = None) -> Solved:
    """Logits, evaluations and time; the last chunk is filled up, so that one program serves all."""
    if solver is not None:
        rtol, atol = jnp.asarray(solver.rtol, jnp.float32), jnp.asarray(solver.atol, jnp.float32)
        model = with_solver(model, Adaptive(solver.tableau, rtol, atol))
    n_chunks = -(-len(images) // CHUNK)
    padded = np.resize(images, (n_chunks * CHUNK, *images.shape[1:])).reshape(n_chunks, CHUNK, 28, 28)
    jax.block_until_ready(logits_and_costs(model, padded[0]))
    parts, seconds = [], np.inf
    for chunk in padded:
        started = time.perf_counter()
        parts.append(jax.block_until_ready(logits_and_costs(model, chunk)))
        seconds = min(seconds, time.perf_counter() - started)
    logits, costs = (np.concatenate([np.asarray(part) for part in own]) for own in zip(*parts, strict=True))
    return Solved(logits[: len(images)], costs[: len(images), 0], float(seconds) / CHUNK)


def measure(sweep: dict[float, Solved], fine: Solved, labels: Int[np.ndarray, "image"]) -> list[Number]:
    """How evaluations follow the tolerance, and the difficulty of the image."""
    spent = {tolerance: found.evaluations.astype(float) for tolerance, found in sweep.items()}
    counts, losses = fine.evaluations.astype(float), fine.losses(labels)
    what = f"over {len(labels):,} test images, Bosh3 at tolerance {FINE:g}"
    numbers = [
        mean_number(f"evaluations an image at {tolerance:g}", own, "", "mean over test images")
        for tolerance, own in spent.items()
    ]
    numbers += [
        Number(
            "evaluations, tightest over loosest",
            float(spent[TOLERANCES[-1]].mean() / spent[TOLERANCES[0]].mean()),
            "",
            f"mean at tolerance {TOLERANCES[-1]:g} over that at {TOLERANCES[0]:g}",
        ),
        Number("spread of evaluations", float(counts.std()), "", f"standard deviation {what}"),
        Number(
            "evaluations against loss",
            rank_correlation(counts, losses),
            "",
            f"rank correlation {what}",
            standard_error=float(len(labels) ** -0.5),
            n=len(labels),
        ),
        mean_number("evaluations, easiest tenth", counts[tenth(losses, hardest=False)], "", what),
        mean_number("evaluations, hardest tenth", counts[tenth(losses, hardest=True)], "", what),
    ]
    return numbers


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; 0 where one of the two does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.asarray(spearmanr(a, b))[0])


def tenth(losses: Float[np.ndarray, "image"], *, hardest: bool) -> Int[np.ndarray, "part"]:
    """The images with the least, or the largest, loss."""
    order = np.argsort(losses, kind="stable")
    n = max(1, len(order) // 10)
    return order[-n:] if hardest else order[:n]


def show(
    run: Run,
    sweep: dict[float, Solved],
    fine: Solved,
    images: np.ndarray,
    labels: Int[np.ndarray, "image"],
) -> None:
    """Draws what a tolerance buys and costs, evaluations against difficulty, and the images at both ends."""
    tolerances = list(sweep)
    counts = np.array([found.evaluations.mean() for found in sweep.values()])
    errors = [100 * (1 - found.right(labels).mean()) for found in sweep.values()]
    seconds = [1e3 * found.seconds for found in sweep.values()]
    figure = Figure(figsize=(7, 6), layout="constrained")
    (left, right), (low_left, low_right) = figure.subplots(2, 2)
    left.semilogx(tolerances, errors, "o-", color="C0")
    left.set(xlabel="tolerance", ylabel="test error (%)", ylim=(0, None))
    right.semilogx(tolerances, counts, "o-", color="C1")
    right.set(xlabel="tolerance", ylabel="evaluations an image", ylim=(0, None))
    low_left.plot(counts, seconds, "o-", color="C2")
    low_left.set(
        xlabel="evaluations an image", ylabel="milliseconds an image", xlim=(0, None), ylim=(0, None)
    )
    groups = np.array_split(np.argsort(fine.losses(labels), kind="stable"), 10)
    means = [fine.evaluations[group].mean() for group in groups]
    spread = [fine.evaluations[group].std() / np.sqrt(len(group)) for group in groups]
    low_right.errorbar(range(1, 11), means, spread, fmt="o-", color="C3", capsize=3)
    low_right.set(
        xlabel="tenth of the images, from easy to hard",
        ylabel=f"evaluations, Bosh3 at {FINE:g}",
        xticks=range(1, 11),
    )
    caption = (
        "The trained ODE-Net solved to five tolerances: test error, evaluations of the field, and time; and "
        "the evaluations of images grouped by their loss, with standard errors."
    )
    run.figures.save_plot("adapts", figure, caption=caption)
    order = np.argsort(fine.evaluations, kind="stable")
    ends = np.stack([images[order[:12]], images[order[-12:]]]) / 255.0
    caption = (
        f"Test images with the fewest evaluations (above: {fine.evaluations[order[0]]} to "
        f"{fine.evaluations[order[11]]}) and with the most (below: {fine.evaluations[order[-12]]} to "
        f"{fine.evaluations[order[-1]]}) at tolerance {FINE:g} (Bosh3)."
    )
    run.figures.save_images("extremes", ends, caption=caption)
