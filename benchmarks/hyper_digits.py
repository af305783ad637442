"""Hyperparameters of ridge regression on digits, where every answer is known exactly.

    python benchmarks/hyper_digits.py [--seeds 3]

Hypergradients against stored ones, tuned regularisers (1, 10 and 650) after an exact refit, the losses that
a global hypernetwork foretells beside those of a Gaussian process, and sampled dropout and noise against
their exact optima. The exact answers are the data set hypernet-oracles. The last line is JSON for the results
table.
"""

import argparse
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from backthrough.datasets import load
from backthrough.hyper import (
    CG,
    CentredLinear,
    Direct,
    Elementwise,
    GlobalHypernet,
    HyperSpace,
    Implicit,
    Linear,
    LocalHypernet,
    Problem,
    Real,
    Unroll,
    hypergradient,
    tune,
)
from backthrough.hyper.engines import Place
from backthrough.recipes.hyper.ridge import Ridge, digits

PER = {1: "all", 10: "output", 650: "weight"}
LOW, HIGH = float(np.exp(-20)), float(np.exp(5))


def space(h: int, start: float = -4.0, low: float = LOW, high: float = HIGH) -> HyperSpace:
    """One regulariser, one a class, or one a weight."""
    return HyperSpace(
        decay=Real(low, high, log=True, per=PER[h], output_axis=1, initial=float(np.exp(start)))
    )


def tuned(ridge: Ridge, h: int, engine: Any, n_steps: int, seed: int, **settings: Any) -> dict[str, Any]:
    """Log lambda, and what an exact refit with it gives."""
    found = tune(
        ridge.train_loss,
        ridge.valid.loss,
        ridge.initial(),
        space(h, settings.pop("start", -4.0)),
        engine=engine,
        n_steps=n_steps,
        key=jax.random.key(seed),
        **settings,
    )
    w = ridge.refit(found.hyper["decay"])
    got = {
        "log lambda": np.asarray(found.u),
        "valid": ridge.valid.measured(w),
        "test": ridge.test.measured(w),
    }
    got["accuracy"] = ridge.test.accuracy(w)
    print(f"h={h} {type(engine).__name__} seed {seed}:", {k: v for k, v in got.items() if np.ndim(v) == 0})
    return got


def gradients(ridge: Ridge, exact: Any) -> dict[str, float]:
    """Hypergradients at the stored points, in double precision."""
    errors: dict[str, list[float]] = {"direct": [], "cg": [], "unroll": []}
    cosines = []
    for h in (1, 10, 650):
        w, u = exact[f"w_{h}"].reshape(ridge.shape), jnp.asarray(exact[f"lam_{h}"].reshape(-1))
        truth = exact[f"hypergrad_{h}"].reshape(-1)
        problem = Problem(ridge.train_loss, ridge.valid.loss, jnp.asarray(w), space(h))
        engines: dict[str, Any] = {"direct": Implicit(Direct()), "cg": Implicit(CG(2000, rtol=1e-13))}
        if h < 650:
            engines["unroll"] = Unroll(60_000, optax.sgd(1.9 / largest_eigenvalue(ridge, u)))
        for name, engine in engines.items():
            got = hypergradient(problem, u, engine=engine, key=jax.random.key(0))
            errors[name].append(float(np.linalg.norm(got.gradient - truth) / np.linalg.norm(truth)))
            print(f"hypergradient, h={h}, {name}: relative error {errors[name][-1]:.2g}")
        for response in [CentredLinear(), Elementwise()][: 2 if h == 1 else 1]:
            if h == 650:
                continue
            cosines.append(trained_cosine(problem, u, truth, LocalHypernet(response, n_samples=20)))
            print(f"hypergradient, h={h}, {response}: cosine {cosines[-1]:.4f}")
    return {**{name: max(own) for name, own in errors.items()}, "cosine": min(cosines)}


def largest_eigenvalue(ridge: Ridge, u: Any) -> float:
    """Of the training loss's Hessian."""
    x = ridge.train.x.astype(float)
    return float(2 * np.linalg.eigvalsh(x.T @ x / ridge.train.y.size)[-1] + 2 * np.exp(np.max(u)))


def trained_cosine(problem: Problem, u: Any, truth: Any, engine: LocalHypernet) -> float:
    """Cosine with the exact hypergradient of a hypernetwork that was trained around u alone."""
    n_steps = 5000
    place = Place(u, jnp.full_like(u, jnp.log(0.3)), jnp.zeros(()))
    state = engine.init(problem, place, key=jax.random.key(0))
    batches = None

    def step(state: Any, i: Any) -> tuple[Any, None]:
        own = place._replace(progress=i / n_steps)
        return engine.fit(problem, state, own, batches, key=jax.random.fold_in(jax.random.key(1), i))[0], None

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(n_steps)))(state)
    got = hypergradient(problem, u, engine=engine, state=state, key=jax.random.key(0)).gradient
    return float(got @ truth / np.linalg.norm(got) / np.linalg.norm(truth))


def foretold(ridge: Ridge, seed: int) -> dict[str, float]:
    """Validation losses of 500 settings, by a global hypernetwork and by a Gaussian process on 25."""
    rng = np.random.default_rng(seed)
    seen, unseen = rng.uniform(-8, -2, (25, 10)), rng.uniform(-8, -2, (500, 10))

    def exact(logs: Any) -> np.ndarray:
        return np.array([ridge.valid.measured(ridge.refit(np.exp(own)[None])) for own in logs])

    known, truth = exact(seen), exact(unseen)
    kernel = ConstantKernel(1.0) * RBF(3.0, (0.1, 100.0)) + WhiteKernel(1e-6, (1e-12, 1e-1))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=3, random_state=seed)
    by_process = process.fit(seen, known).predict(unseen)
    box = space(10, -5.0, float(np.exp(-8)), float(np.exp(-2)))
    found = tune(
        ridge.train_loss,
        ridge.valid.loss,
        ridge.initial(),
        box,
        engine=GlobalHypernet(Linear(), learning_rate=1e-2),
        n_steps=6001,
        warm_up=6000,
        key=jax.random.key(seed),
    )
    tuner, state = found.tuner, found.state
    by_net = jax.vmap(
        lambda u: ridge.valid.loss(
            tuner.problem.params(tuner.engine.weights(tuner.problem, state.engine, u, state.u))
        )
    )(jnp.asarray(unseen, jnp.float32))
    off, off_process = np.asarray(by_net) - truth, by_process - truth
    got = {
        "rmse": float(np.sqrt(np.mean(off**2))),
        "rmse of the process": float(np.sqrt(np.mean(off_process**2))),
        "bias": float(off.mean()),
        "bias of the process": float(off_process.mean()),
    }
    print(f"500 settings, seed {seed}:", {name: f"{value:.5f}" for name, value in got.items()})
    return got


def sampled(ridge: Ridge, which: str, seed: int) -> float:
    """Mean over the last fifth of the run of the coordinate of sampled dropout or noise of the inputs."""
    x, y = jnp.asarray(ridge.train.x), jnp.asarray(ridge.train.y)

    def train_loss(w: Any, hyper: Any, *, key: Any) -> Any:
        strength = hyper[which]
        if which == "dropout":
            kept = jax.random.uniform(key, x.shape) >= strength
            changed = jnp.where(kept, x, 0) / (1 - jax.lax.stop_gradient(strength))
        else:
            changed = x + jax.lax.stop_gradient(strength) * jax.random.normal(key, x.shape)
        return jnp.mean(jnp.square(changed @ w - y))

    real = (
        Real(0.01, 0.9, logit=True, initial=0.3)
        if which == "dropout"
        else Real(0.01, 3.0, log=True, initial=0.5)
    )
    found = tune(
        train_loss,
        ridge.valid.loss,
        ridge.initial(),
        HyperSpace(**{which: real}),
        engine=LocalHypernet(n_samples=16),
        n_steps=10_000,
        key=jax.random.key(seed),
    )
    schedule = found.schedule
    last = schedule.coordinates[schedule.steps > 0.8 * schedule.steps[-1], 0]
    print(f"sampled {which}, seed {seed}: {last.mean():.3f}")
    return float(last.mean())


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    ridge, stored = digits(), load("hypernet-oracles")
    exact = stored.arrays
    with jax.enable_x64(True):
        by_engine = gradients(ridge, exact)
    one = [tuned(ridge, 1, LocalHypernet(), 3000, seed) for seed in seeds]
    ten = [tuned(ridge, 10, LocalHypernet(), 3000, seed) for seed in seeds]
    own = [
        tuned(ridge, 650, LocalHypernet(Elementwise(), n_samples=4), 10_000, seed, scale=0.5)
        for seed in seeds
    ]
    implicit = [tuned(ridge, 650, Implicit(CG(20)), 5000, seed, start=-2.0) for seed in seeds]
    told = [foretold(ridge, seed) for seed in seeds]
    dropout = [sampled(ridge, "dropout", seed) for seed in seeds]
    noise = [sampled(ridge, "noise", seed) for seed in seeds]
    optimum = float(exact["lam_opt_1"].reshape(-1)[0])
    off = {
        "dropout": max(abs(u - float(exact["dropout_logit/opt"])) for u in dropout),
        "noise": max(abs(u - float(exact["gauss_noise_logstd/opt"])) for u in noise),
    }
    worst = {
        name: max(own, key=lambda got: got["test"])["test"]
        for name, own in (("own", own), ("implicit", implicit))
    }
    print(
        json.dumps(
            {
                "hyper.A1-direct": {"ours": by_engine["direct"]},
                "hyper.A1-cg": {"ours": by_engine["cg"]},
                "hyper.A1-unroll": {"ours": by_engine["unroll"]},
                "hyper.A1-hypernet": {"ours": by_engine["cosine"]},
                "hyper.A2-lambda": {"ours": max(abs(float(got["log lambda"][0]) - optimum) for got in one)},
                "hyper.A2-loss": {"ours": max(got["valid"] for got in one)},
                "hyper.A3": {"ours": max(got["valid"] for got in ten)},
                "hyper.A4-elementwise": {"ours": worst["own"]},
                "hyper.A4-implicit": {"ours": worst["implicit"]},
                "hyper.A4-accuracy": {"ours": min(got["accuracy"] for got in [*own, *implicit])},
                "hyper.A6-rmse": {"ours": max(got["rmse"] / got["rmse of the process"] for got in told)},
                "hyper.A6-bias": {"ours": max(abs(got["bias"]) for got in told)},
                "hyper.A7-dropout": {"ours": off["dropout"]},
                "hyper.A7-noise": {"ours": off["noise"]},
            }
        )
    )


if __name__ == "__main__":
    main()
