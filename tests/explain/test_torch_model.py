import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.adapt import adapt
from backthrough.explain.problem import make_problem

torch = pytest.importorskip("torch")
from backthrough.explain.torch_model import TorchModel  # noqa: E402


def network():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Flatten(),
        torch.nn.Linear(6 * 6 * 6, 4),
    )
    with torch.no_grad():  # statistics that are not those of the start
        module.train()(torch.randn(16, 3, 8, 8) * 2 + 1)
    return module.eval()


X = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)


def their_gradient(module, x, target):
    inputs = torch.tensor(x, requires_grad=True)
    logits = module(inputs)
    others = torch.stack([logits[:, k] for k in range(4) if k != target], 1)
    (gradient,) = torch.autograd.grad((logits[:, target] - others.logsumexp(1)).sum(), inputs)
    return gradient.numpy()


def test_values_and_gradients_are_those_of_torch():
    module = network()
    problem = make_problem(module, X, 2)
    np.testing.assert_array_equal(problem.bound.outputs, module(torch.tensor(X)).detach().numpy())
    assert problem.bound.differentiable
    value = jax.jit(jax.vmap(jax.value_and_grad(problem.score)))(problem.x, problem.target)
    np.testing.assert_allclose(value[1], their_gradient(module, X, 2), atol=1e-6)
    alone = jax.grad(problem.score)(problem.x[0], problem.target[0])
    np.testing.assert_allclose(alone, value[1][0], atol=1e-6)


def test_the_cotangent_of_an_output_is_torch_s_to_the_bit():
    module = network()
    function = adapt(module).bind(jnp.asarray(X)).function
    ours = jax.vmap(jax.grad(lambda x: function(x)[1]))(jnp.asarray(X))
    inputs = torch.tensor(X, requires_grad=True)
    (theirs,) = torch.autograd.grad(module(inputs)[:, 1].sum(), inputs)
    assert np.abs(np.asarray(ours) - theirs.numpy()).max() == 0.0


def test_inside_scan_and_nested_vmap():
    module = network()
    problem = make_problem(module, X, 2)
    gradient = jax.grad(problem.score)

    def step(x, _):
        return x + 0.1 * gradient(x, problem.target[0]), problem.score(x, problem.target[0])

    x, scores = jax.jit(lambda x: jax.lax.scan(step, x, None, 3))(problem.x[0])
    theirs = X[:1]
    for _ in range(3):
        theirs = theirs + 0.1 * their_gradient(module, theirs, 2)
    np.testing.assert_allclose(x, theirs[0], atol=1e-5)
    assert (np.diff(scores) > 0).all()
    masks = jnp.asarray([0.0, 0.5, 1.0])
    nested = jax.vmap(lambda x, t: jax.vmap(lambda m: gradient(x * m, t))(masks))(problem.x, problem.target)
    for j, mask in enumerate(masks):
        np.testing.assert_allclose(nested[:, j], their_gradient(module, X * float(mask), 2), atol=1e-6)


def test_a_batch_is_one_call():
    module, calls = network(), []
    module.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    problem = make_problem(module, X, 0)
    calls.clear()
    jax.block_until_ready(jax.jit(jax.vmap(problem.score))(problem.x, problem.target))
    assert calls == [5]


def test_nothing_in_the_module_changes():
    module = network().train()
    module[1].eval()
    module[5].weight.requires_grad_(False)
    module[0].weight.grad = torch.full_like(module[0].weight, 7.0)
    flags = [own.training for own in module.modules()]
    wanted = [own.requires_grad for own in module.parameters()]
    before = {name: own.clone() for name, own in module.state_dict().items()}
    with pytest.warns(UserWarning, match="training mode"):
        problem = make_problem(module, X, 2)
    gradient = jax.vmap(jax.grad(problem.score))
    first = gradient(problem.x, problem.target)
    assert np.array_equal(first, gradient(problem.x, problem.target))  # no dropout
    assert [own.training for own in module.modules()] == flags
    assert [own.requires_grad for own in module.parameters()] == wanted
    assert all(torch.equal(own, before[name]) for name, own in module.state_dict().items())
    assert (module[0].weight.grad == 7).all()
    assert all(own.grad is None for own in list(module.parameters())[1:])
    np.testing.assert_allclose(first, their_gradient(module.eval(), X, 2), atol=1e-6)


def test_flags_come_back_after_an_error():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    with pytest.warns(UserWarning, match="training"), pytest.raises(ArgumentError):
        TorchModel(module).bind(jnp.zeros((2, 5)))
    assert module.training
    assert module[0].training


def test_gradients_that_the_caller_switched_off():
    module = network()
    with torch.no_grad():
        problem = make_problem(module, X, 2)
        assert problem.bound.differentiable
        found = jax.vmap(jax.grad(problem.score))(problem.x, problem.target)
    np.testing.assert_allclose(found, their_gradient(module, X, 2), atol=1e-6)


class Steps(torch.nn.Module):
    def forward(self, x):
        hard = (x.detach() > 0).float().flatten(1).mean(1)
        return torch.stack([hard * 3 - 1, hard - 2], 1)


def test_without_gradients_it_is_a_black_box():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = make_problem(Steps(), X, 0)
    assert not problem.bound.differentiable
    assert jax.vmap(problem.score)(problem.x, problem.target).shape == (5,)


def test_double_precision_and_half():
    for dtype, atol in ((torch.float64, 1e-6), (torch.bfloat16, 0.2)):
        problem = make_problem(network().to(dtype), X, 2)
        found = jax.vmap(jax.grad(problem.score))(problem.x, problem.target)
        np.testing.assert_allclose(found, their_gradient(network(), X, 2), atol=atol)


def test_refusals():
    with pytest.raises(ArgumentError, match=r"\(5, 8, 8, 3\).*channels first.*channels='first'"):
        make_problem(network(), X.transpose(0, 2, 3, 1), 0)
    with pytest.raises(ArgumentError, match="make a column"):
        make_problem(torch.nn.Sequential(torch.nn.Flatten(0)).eval(), np.ones((5, 1)), 0)
    soft = torch.nn.Sequential(network(), torch.nn.Softmax(1)).eval()
    with pytest.raises(ArgumentError, match="look like probabilities"):
        make_problem(soft, X, 0)
    assert make_problem(TorchModel(soft, outputs="probabilities"), X, 0).bound.kind == "probabilities"

    class Pair(torch.nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ArgumentError, match="tensor of shape"):
        make_problem(Pair().eval(), X, 0)
