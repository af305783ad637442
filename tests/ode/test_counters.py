"""What a backward solve says that it has cost."""

import jax
import jax.numpy as jnp
import pytest

from backthrough import ode
from backthrough.core import ArgumentError


@pytest.mark.parametrize("adjoint", [ode.Backsolve, ode.Interpolated, ode.Continuous])
def test_a_counter_is_told_the_vector_jacobian_products(adjoint):
    made, told = [], []

    @jax.custom_vjp
    def field(t, y, args):
        return jnp.stack([y[1], -2 * y[0]])

    def forward(t, y, args):
        return field(t, y, args), (t, args)

    def backward(kept, ct):
        jax.debug.callback(lambda: made.append(1))
        t, args = kept
        return jnp.zeros_like(t), jnp.stack([-2 * ct[1], ct[0]]), args

    field.defvjp(forward, backward)

    @jax.jit
    def gradient(y0, ts):
        def loss(y0):
            solution = ode.odeint(field, y0, ts, solver=ode.Bosh3(), adjoint=adjoint(counter=told.append))
            return solution.ys.sum()

        return jax.grad(loss)(y0)

    for y0 in ([1.0, 0.0], [0.3, 2.0]):  # three times, one of them within
        gradient(jnp.array(y0), jnp.array([0.0, 1.0, 2.5]))
        jax.effects_barrier()
        assert told[-1] == len(made) > 10
        made.clear()
    assert len(told) == 2


def test_lanes_with_save_times_of_their_own_make_as_many_each():
    made, told = [], []

    @jax.custom_vjp
    def field(t, y, args):
        return -y

    def backward(_, ct):
        jax.debug.callback(lambda: made.append(1))
        return jnp.zeros(()), -ct, jnp.zeros(())

    field.defvjp(lambda t, y, args: (field(t, y, args), None), backward)

    @jax.jit
    @jax.vmap
    def gradient(y0, ts):
        adjoint = ode.Interpolated(counter=told.append)
        return jax.grad(lambda y0: ode.odeint(field, y0, ts, jnp.zeros(()), adjoint=adjoint).ys.sum())(y0)

    ts = jnp.array([[0.0, 0.3, 2.0], [0.0, 1.0, 2.0], [0.0, 1.7, 2.0]])
    gradient(jnp.arange(1.0, 4.0), ts)
    jax.effects_barrier()
    assert told == [len(made)]  # a callback without arguments is called once for all lanes


def test_a_counter_is_a_function():
    adjoint = ode.Backsolve()
    object.__setattr__(adjoint, "counter", 5)  # past the types that tests check
    with pytest.raises(ArgumentError, match=r"counter must be callable as counter\(n\), got 5"):
        ode.odeint(lambda t, y, args: -y, 1.0, [0.0, 1.0], adjoint=adjoint)
