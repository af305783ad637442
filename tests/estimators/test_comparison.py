"""The comparison, as a library call and as a command."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from matplotlib.figure import Figure

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.estimators import (
    DisARM,
    LeaveOneOut,
    ReinMax,
    Reparameterisation,
    ScoreFunction,
    compare,
    numpy_function,
    suitable_estimators,
)
from estimators.problems import LOGITS, quadratic

KEY = jax.random.key(0)
BITS = dist.Bernoulli(logits=jnp.asarray(LOGITS, jnp.result_type(float)))


@pytest.fixture(scope="module")
def found():
    chosen = {"ours": DisARM(), "four": (LeaveOneOut(), 4), "biased": ReinMax()}
    return compare(chosen, quadratic, BITS, key=KEY, n_samples=20_000)


def test_figures_are_those_of_the_fixture(found):
    """Variances stated elsewhere; a 20,000-draw variance is right to about 2 %."""
    assert found.names == ("ours", "four", "biased")
    assert found.variance[0] == pytest.approx(0.312, rel=0.1)
    assert found.variance[1] < found.variance[0]
    assert (found.bias_z[:2] < 6).all()
    assert found.bias_z[2] > 6
    assert found.relative_bias[2] == pytest.approx(0.076, abs=0.02)
    assert found.evaluations == (2, 4, 1)
    assert found.unbiased == (True, True, False)
    assert (found.microseconds > 0).all()
    assert found.reference == "enumeration"
    table = found.table()
    assert list(table.index) == ["four", "biased", "ours"]
    axes = Figure().subplots()
    assert found.plot(axes) is axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["1 four", "2 biased", "3 ours"]


def test_without_enumeration_the_reference_is_a_mean():
    found = compare(
        {"path": Reparameterisation()},
        lambda b: jnp.sum(b**2),
        dist.Normal(jnp.array([0.7]), jnp.array([1.3])),
        key=KEY,
        n_samples=5000,
    )
    assert found.reference == "mean of 5,000 LeaveOneOut gradients of 8 samples"
    assert found.bias_z[0] < 6
    np.testing.assert_allclose(found.variance[0], 4 * 1.69 + 26.1 / 1.69, rtol=0.2)


def test_refusals():
    def inverse(b):
        return 1 / jnp.sum(b)

    with pytest.raises(
        ArgumentError, match="score: f or its gradient is not finite in draw .* of 200: mean of f inf"
    ):
        compare({"score": ScoreFunction()}, inverse, BITS, key=KEY, n_samples=200)
    with pytest.raises(ArgumentError, match="n_samples must be at least 100, got 5"):
        compare({"score": ScoreFunction()}, quadratic, BITS, key=KEY, n_samples=5)
    with pytest.raises(ArgumentError, match="estimators is empty"):
        compare({}, quadratic, BITS, key=KEY, n_samples=500)


def test_suitable_ones():
    black_box = numpy_function(lambda b: b.sum(1))
    names = list(suitable_estimators(black_box, BITS))
    assert names == [
        "Enumeration",
        "LeaveOneOut",
        "DisARM",
        "ARM",
        "RELAX",
        "ScoreFunction",
        "MeasureValued",
        "DiCE",
    ]
    assert "Enumeration" not in suitable_estimators(black_box, dist.Bernoulli(logits=jnp.zeros(13)))


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_problem.py").write_text(
        "import jax.numpy as jnp, numpyro.distributions as dist\n"
        "def problem():\n"
        "    return lambda b: jnp.sum((b - 0.45) ** 2), dist.Bernoulli(logits=jnp.zeros(3))\n"
        "def wrong():\n"
        "    return 3\n"
        "def needs(size, shape=3):\n"
        "    return 3\n"
        "def broken():\n"
        "    return {}['x']\n"
        "import math\n"
        "def plain():\n"
        "    return lambda b: math.exp(b.sum()), dist.Bernoulli(logits=jnp.zeros(3))\n"
        "from backthrough.estimators import numpy_function\n"
        "def wrapped():\n"
        "    return numpy_function(lambda b: b['x']), dist.Bernoulli(logits=jnp.zeros(3))\n"
        "def unwrapped():\n"
        "    return numpy_function(lambda b: b), dist.Bernoulli(logits=jnp.zeros(3))\n"
    )
    options = ["--n-samples", "500", "--only", "DisARM", "Concrete", "--csv", "out.csv", "--plot", "out.png"]
    assert main(["estimators", "compare", "my_problem:problem", *options]) == 0
    captured = capsys.readouterr().out
    assert "DisARM" in captured
    assert "and the truth, by\n           enumeration. Above 6 it is bias" in captured
    assert "biased, " in captured
    assert "unbiased" in captured
    assert (tmp_path / "out.csv").read_text().startswith("estimator,unbiased,samples,bias z")
    assert (tmp_path / "out.png").stat().st_size > 1000
    (tmp_path / "unfinished.py").write_text("def problem(:\n")
    (tmp_path / "imports.py").write_text("import no_such_library\n")
    theirs = f"{tmp_path}/my_problem.py"
    for problem, message in (
        ("my_problem:broken", f"{theirs}:9 in broken: your code raised KeyError: 'x'"),
        (
            "my_problem:wrapped",
            "the NumPy function wrapped.<locals>.<lambda>, called with samples of shape (8,",
        ),
        ("my_problem:wrapped", "raised IndexError: only integers"),
        ("my_problem:unwrapped", "the NumPy function must return one number for each of 8 samples"),
        ("unfinished:problem", "unfinished.py:1: your code raised SyntaxError"),
        (
            "imports:problem",
            "imports.py:1 in <module>: your code raised ModuleNotFoundError: No module named",
        ),
    ):
        assert main(["estimators", "compare", problem, "--n-samples", "100"]) == 1
        assert message in capsys.readouterr().err
    for problem, message in (
        ("my_problem:needs", "must work without arguments and return (f, dist), but it needs size"),
        ("my_problem:plain", f"{theirs}:12 in <lambda>: JAX cannot trace f here"),
        ("my_problem:prblem", "unknown function of my_problem 'prblem'; did you mean 'problem'?"),
        ("my_problem:wrong", "must return (f, dist)"),
        ("no_such_module:problem", "cannot import 'no_such_module'"),
        ("my_problem", "name the problem as MODULE:FUNCTION"),
    ):
        assert main(["estimators", "compare", problem]) == 2
        assert message in capsys.readouterr().err
    assert main(["estimators"]) == 2
    assert main(["estimators", "--help"]) == 0
    assert main(["estimators", "comapre"]) == 2
