"""Problems on which a gradient's error is easily missed, with gradients from closed forms or tight solves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jax.flatten_util import ravel_pytree

from backthrough import ode

SPAN = 10.0
KNOTS = 11  # at whole times


ADJOINTS = {
    "Discrete": ode.Discrete(),
    "Continuous": ode.Continuous(),
    "Interpolated": ode.Interpolated(),
    "Backsolve": ode.Backsolve(drift=1e6),  # how far the state may go astray is not looked at here
}
TOLERANCES = (1e-4, 1e-6, 1e-8)


class Case(NamedTuple):
    """A problem whose gradient, of the sum of the states at all times but the first, is looked at.

    Attributes:
        field: (t, y, args) -> dy/dt.
        y0: The initial state.
        args: The parameters.
        ts: Times.
        blind: Whether what parameters do cancels in the state, so that the steps of the forward solve, whose
            exact gradient `Discrete` is, are blind to it.
        jumps: Times at which the field jumps or has a kink.
    """

    field: Callable[..., Any]
    y0: Any
    args: Any
    ts: tuple[float, ...] = (0.0, SPAN)
    blind: bool = False
    jumps: tuple[float, ...] = ()
    make: Callable[..., Any] = ode.Dopri5

    def adjoints(self):
        """The adjoints that can have its gradient, by name."""
        stiff, blind = self.make is ode.Rodas5P, self.blind
        return {name: own for name, own in ADJOINTS.items() if not (blind if name == "Discrete" else stiff)}


def forced(frequency):
    return Case(lambda t, y, p: p * (1 + jnp.sin(frequency * t)), 0.0, 1.0)


def late(t, y, args):
    rate, strength = args
    return -rate * y + strength * jax.nn.sigmoid(20 * (t - 8)) * (1 + jnp.sin(20 * t)) + jnp.cos(t)


def early(t, y, args):
    rate, strength = args
    return -rate * y + strength * jax.nn.sigmoid(20 * (2 - t)) * (1 + jnp.sin(20 * t)) + 0.1


def pulse(t, y, args):
    rate, strength, width = args
    return -rate * y + strength * jnp.exp(-jnp.square((t - 5) / width))


def knots(t, y, args):
    rate, values = args
    return -rate * y + jnp.interp(t, jnp.linspace(0, SPAN, values.shape[0]), values)


def cancelling(t, y, args):
    """With equal parameters the state decays as if there were none; what each of them does is not smooth."""
    a, b = args
    return -0.3 * y + (a - b) * jnp.sin(20 * t)


def oscillator(t, y, args):
    stiffness, damping, drive = args["stiffness"], args["damping"], args["drive"]
    return jnp.stack([y[1], -stiffness * y[0] - damping * y[1] + drive * jnp.sin(15 * t)])


def stiff(t, y, args):
    fast, slow, strength = args
    return jnp.stack([-fast * (y[0] - y[1] ** 2), -slow * y[1] + strength * jnp.sin(5 * t)])


def network(t, y, layers):
    """A field of more parameters than are carried in full, with a fast input."""
    (w, b), (v, c) = layers
    inputs = jnp.concatenate([y, jnp.stack([jnp.sin(20 * t), jnp.cos(3 * t)])])
    return v @ jnp.tanh(w @ inputs + b) + c - 0.1 * y


def network_parameters():
    keys = jax.random.split(jax.random.key(0), 4)
    sizes = ((24, 6), (24,), (4, 24), (4,))
    w, b, v, c = (jax.random.normal(key, size) for key, size in zip(keys, sizes, strict=True))
    return (w / 2, b / 2), (v / 5, c / 5)


def family():
    """The problems by name; call it in double precision."""
    return {
        "forced": forced(20.0),
        "forced slowly": forced(2.0),
        "forced fast": forced(60.0),
        "late": Case(late, 1.0, (0.1, 1.0)),
        "early": Case(early, 1.0, (0.2, 1.0)),
        "pulse": Case(pulse, 1.0, (0.3, 2.0, 0.3)),
        "knots": Case(knots, 1.0, (0.1, jnp.sin(3 * jnp.arange(KNOTS))), jumps=tuple(range(KNOTS))),
        "cancelling": Case(cancelling, 1.0, (1.0, 1.0), blind=True),
        "nearly cancelling": Case(cancelling, 1.0, (1.0, 0.5)),
        "oscillator": Case(
            oscillator, jnp.array([1.0, 0.0]), {"stiffness": 4.0, "damping": 0.2, "drive": 1.0},
            (0.0, 1.0, 4.0, SPAN),
        ),
        "stiff": Case(stiff, jnp.array([1.0, 0.5]), (300.0, 0.2, 1.0), make=ode.Rodas5P),
        "network": Case(network, jnp.array([1.0, -0.5, 0.3, 0.0]), network_parameters(), (0.0, 3.0)),
    }  # fmt: skip


def gradient_of(case, adjoint):
    """tolerance -> the gradient to the initial state and the parameters; compiled once."""
    y0, args = jax.tree_util.tree_map(lambda x: jnp.asarray(x, float), (case.y0, case.args))

    def loss(y0, args, tolerance):
        found = ode.odeint(
            case.field, y0, jnp.array(case.ts), args, solver=case.make(tolerance, tolerance), adjoint=adjoint,
            max_steps=2**14, jump_ts=jnp.array(case.jumps, float) if case.jumps else None,
        )  # fmt: skip
        return jnp.sum(found.ys[1:])

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return lambda tolerance: compiled(y0, args, tolerance)


def exact_gradient(case):
    """The same by SciPy, from the forward sensitivities, in steps that miss nothing and end at all knots."""
    y0, args = jax.tree_util.tree_map(lambda x: jnp.asarray(x, float), (case.y0, case.args))
    flat, restore = ravel_pytree((y0, args))
    n, m = y0.size, flat.size

    def rhs(t, both):
        y, sensitivity = both[:n], both[n:].reshape(n, m)

        def field(y, flat):
            return jnp.ravel(case.field(t, y.reshape(y0.shape), restore(flat)[1]))

        of_y, of_flat = jax.jacfwd(field, argnums=(0, 1))(y, flat)
        return jnp.concatenate([field(y, flat), jnp.ravel(of_y @ sensitivity + of_flat)])

    compiled = jax.jit(rhs)
    start = np.concatenate([np.ravel(y0), np.eye(n, m).ravel()])
    total = np.zeros(m)
    for begin in range(int(case.ts[0]), int(case.ts[-1])):
        found = scipy.integrate.solve_ivp(
            lambda t, both: np.asarray(compiled(t, both)), (begin, begin + 1), start, method="DOP853",
            rtol=1e-12, atol=1e-14, max_step=0.05,
        )  # fmt: skip
        start = found.y[:, -1]
        if begin + 1 in case.ts:
            total += start[n:].reshape(n, m).sum(0)
    return restore(jnp.asarray(total))


def worst(found, exact):
    """The largest error of a leaf, relative to the leaf's largest entry."""
    errors = jax.tree_util.tree_map(
        lambda a, b: float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))), found, exact
    )
    return max(jax.tree_util.tree_leaves(errors))
