"""Fields that jump: pulses, doses and forcing from tables, solved piece by piece by SciPy for comparison."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate

from backthrough import ode


class Case(NamedTuple):
    """A problem with jumps.

    Attributes:
        field: (t, y, (jumps, numbers)) -> dy/dt.
        y0: The initial state.
        jumps: Where it jumps or has a kink.
        numbers: What else it depends on.
        ts: Times.
        make: The solver.
    """

    field: Callable[..., Any]
    y0: Any
    jumps: tuple[float, ...]
    numbers: Any
    ts: tuple[float, ...] = (0.0, 2.5, 5.0, 7.5, 10.0)
    make: Callable[..., Any] = ode.Dopri5


def on(t, jumps):
    """1 between the first and the second, the third and the fourth, ... jump, 0 elsewhere."""
    return jnp.sum(jumps < t) % 2.0


def decay(t, y, args):
    jumps, (rate, strength) = args
    return -rate * y + strength * on(t, jumps)


def oscillator(t, y, args):
    jumps, (stiffness, strength) = args
    return jnp.stack([y[1], -stiffness * y[0] - 0.3 * y[1] + strength * on(t, jumps)])


def one_compartment(t, y, args):
    """From the gut into the blood, and out of it at a rate that saturates (Michaelis and Menten)."""
    jumps, (uptake, fastest, half, amount) = args
    return jnp.stack([amount * on(t, jumps) - uptake * y[0], uptake * y[0] - fastest * y[1] / (half + y[1])])


def two_compartments(t, y, args):
    jumps, (out, there, back, amount) = args
    return jnp.stack([amount * on(t, jumps) - (out + there) * y[0] + back * y[1], there * y[0] - back * y[1]])


def constant_table(t, y, args):
    jumps, (rate, values) = args
    return -rate * y + values[jnp.sum(jumps < t)]


def linear_table(t, y, args):
    jumps, (rate, values) = args
    return -rate * y + jnp.interp(t, jumps, values)


def linear_oscillator(t, y, args):
    jumps, (stiffness, values) = args
    return jnp.stack([y[1], -stiffness * y[0] - 0.1 * y[1] + jnp.interp(t, jumps, values)])


def hunted(t, y, args):
    """Hares and lynxes, with hunting seasons."""
    jumps, (a, b, c, d, hunting) = args
    open_now = hunting * on(t, jumps)
    return jnp.stack([(a - open_now) * y[0] - b * y[0] * y[1], d * y[0] * y[1] - (c + open_now) * y[1]])


def stiff(t, y, args):
    jumps, (fast, slow, strength) = args
    return jnp.stack([-fast * (y[0] - y[1] ** 2), -slow * y[1] + strength * on(t, jumps)])


def turning(t, y, args):
    """Whose direction turns round at every jump."""
    jumps, speed = args
    return speed * (1 - 2 * on(t, jumps)) * jnp.stack([-y[1], y[0]])


def family() -> dict[str, Case]:
    """The problems by name; call it in double precision."""
    rng = np.random.default_rng(0)
    two = (1.0, 0.0)
    train = tuple(np.sort(rng.uniform(0.2, 9.8, 40)).tolist())
    table = tuple(np.linspace(0, 10, 21).tolist())
    uneven = (0.0, *np.sort(rng.uniform(0.1, 9.9, 19)).tolist(), 10.0)
    values = jnp.asarray(rng.normal(size=21))
    found = {}
    for width in (1.0, 0.1, 0.01, 1e-4):
        for rate in (0.5, 5.0):
            found[f"pulse {width:g} {rate:g}"] = Case(decay, 0.0, (5.0, 5.0 + width), (rate, 1 / width))
    daily = tuple(x for day in range(8) for x in (day + 1.0, day + 1.02))
    drips = (1.0, 2.0, 4.0, 5.5, 8.0, 8.25)
    drug = (1.1, 2.0, 0.7, 50.0)
    body = (0.4, 0.9, 0.5, 50.0)
    found |= {
        "train": Case(decay, 0.0, train, (1.0, 10.0)),
        "quick train": Case(decay, 0.0, train, (20.0, 10.0)),
        "kicked": Case(oscillator, two, (3.0, 3.01, 7.0, 7.01), (4.0, 100.0)),
        "kicked from rest": Case(oscillator, (0.0, 0.0), (3.0, 3.001), (9.0, 1000.0)),
        "square wave": Case(oscillator, two, tuple(np.arange(0.5, 10, 0.5).tolist()), (4.0, 2.0)),
        "drip": Case(one_compartment, (0.0, 0.0), drips, (*drug[:3], 3.0)),
        "daily": Case(one_compartment, (0.0, 0.0), daily, drug),
        "daily, seen hourly": Case(
            one_compartment, (0.0, 0.0), daily, drug, ts=tuple(np.linspace(0, 10, 241).tolist())
        ),
        "two compartments": Case(two_compartments, (0.0, 0.0), daily, body),
        "two compartments, drip": Case(two_compartments, (0.0, 0.0), drips, (*body[:3], 3.0)),
        "seen at the jumps": Case(two_compartments, (0.0, 0.0), drips, body, ts=(0.0, *drips, 10.0)),
        "steps": Case(constant_table, 0.0, table[1:-1], (0.5, values)),
        "uneven steps": Case(constant_table, 0.0, uneven[1:-1], (3.0, values)),
        "steps, seen at them": Case(constant_table, 0.0, table[1:-1], (0.5, values), ts=table),
        "linear": Case(linear_table, 0.0, table, (0.5, values)),
        "uneven linear": Case(linear_table, 0.0, uneven, (3.0, values)),
        "linear, quick": Case(linear_table, 0.0, uneven, (30.0, values)),
        "linear, oscillator": Case(linear_oscillator, two, table, (9.0, values)),
        "uneven, oscillator": Case(linear_oscillator, two, uneven, (25.0, values)),
        "seasons": Case(hunted, (1.0, 1.0), (2.0, 2.5, 5.0, 5.5, 8.0, 8.5), (1.5, 1.0, 3.0, 1.0, 1.0)),
        "short seasons": Case(hunted, (1.0, 1.0), daily, (1.5, 1.0, 3.0, 1.0, 20.0)),
        "stiff": Case(stiff, (0.0, 0.0), (5.0, 5.1), (1e4, 0.5, 10.0), make=ode.Rodas5P),
        "stiff train": Case(stiff, (0.0, 0.0), train, (1e4, 0.5, 10.0), make=ode.Rodas5P),
        "turning": Case(turning, two, tuple(np.arange(1.0, 10).tolist()), 3.0),
        "backwards": Case(decay, 1.0, (5.0, 5.01), (0.1, 100.0), ts=(10.0, 7.5, 5.0, 2.5, 0.0)),
        "far from zero": Case(decay, 0.0, (1005.0, 1005.01), (0.5, 100.0), ts=(1000.0, 1005.0, 1010.0)),
        "Tsit5": Case(decay, 0.0, (5.0, 5.01), (0.5, 100.0), make=ode.Tsit5),
        "Dopri8": Case(oscillator, two, (3.0, 3.01, 7.0, 7.01), (4.0, 100.0), make=ode.Dopri8),
        "Bosh3": Case(decay, 0.0, (5.0, 5.01), (0.5, 100.0), make=ode.Bosh3),
    }
    return {name: case._replace(y0=jnp.asarray(case.y0)) for name, case in found.items()}


def solve(case: Case, jumps: Any, tolerance: Any, **options: Any) -> Any:
    """The states at all times but the first, with the same number as both tolerances."""
    solver = case.make(tolerance, tolerance)
    args = (jumps, case.numbers)
    found = ode.odeint(
        case.field,
        case.y0,
        jnp.asarray(case.ts),
        args,
        solver=solver,
        jump_ts=jumps,
        max_steps=2**14,
        **options,
    )
    return found.ys[1:]


def in_pieces(case: Case, jumps: np.ndarray | None = None) -> np.ndarray:
    """The same by SciPy, from jump to jump, the field never asked at one."""
    jumps = np.asarray(case.jumps) if jumps is None else jumps
    shape = np.shape(case.y0)
    field = jax.jit(lambda t, y, low, high: jnp.ravel(
        case.field(jnp.clip(t, low, high), y.reshape(shape), (jnp.asarray(jumps), case.numbers))
    ))  # fmt: skip
    sign = 1 if case.ts[-1] > case.ts[0] else -1
    inner = [x for x in jumps if min(case.ts) < x < max(case.ts)]
    stops = sorted({*case.ts, *inner}, key=lambda x: sign * x)
    y, found = np.ravel(np.asarray(case.y0, float)), []
    method = "Radau" if case.make is ode.Rodas5P else "DOP853"
    for begin, end in pairwise(stops):
        low, high = sorted((begin, end))
        low, high = np.nextafter(low, high), np.nextafter(high, low)
        y = scipy.integrate.solve_ivp(
            lambda t, y, low=low, high=high: np.asarray(field(t, y, low, high)),
            (begin, end), y, method, rtol=1e-12, atol=1e-13,
        ).y[:, -1]  # fmt: skip
        if end in case.ts:
            found.append(y.reshape(shape))
    return np.stack(found)


def error_in_tolerances(found: Any, exact: np.ndarray, tolerance: float) -> float:
    """The largest error of a state, relative to what is allowed where its component is largest."""
    allowed = tolerance * (1 + np.abs(exact).max(axis=0))
    return float((np.abs(np.asarray(found) - exact) / allowed).max())
