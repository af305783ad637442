"""The examples of the pages run as they stand."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

WHICH_PART = (slice(0, 2), slice(2, 3), slice(3, 4))  # a JAX function, a forest, a torch network


@pytest.mark.parametrize(
    ("page", "number"),
    [("README.md", 0), ("docs/datasets.md", 2), ("docs/getting-started.md", 1), ("docs/latent.md", 1)]
    + [("docs/estimators.md", number) for number in range(6)]
    + [pytest.param("docs/ode-in-your-model.md", number, marks=pytest.mark.slow) for number in range(2)]
    + [("docs/disentanglement.md", None)]
    + [pytest.param("docs/recommend.md", None, marks=pytest.mark.slow)]
    + [("docs/your-own-solver.md", number) for number in range(3)]
    + [("docs/which-estimator.md", 0)]
    + [("docs/your-own-estimator.md", number) for number in range(3)]
    + [pytest.param("docs/natgrad.md", None, marks=pytest.mark.slow)]
    + [
        pytest.param(page, 0, marks=pytest.mark.slow)
        for page in (
            "docs/density.md",
            "docs/explain.md",
            "docs/forecast.md",
            "docs/hyper.md",
            "docs/regress.md",
        )
    ]
    + [
        pytest.param(page, None, marks=pytest.mark.slow)
        for page in (
            "docs/is-my-encoder-the-problem.md",
            "docs/error-bars-you-can-trust.md",
            "docs/tune-650-regularisers.md",
        )
    ]
    + [pytest.param("docs/which-part-mattered.md", part, marks=pytest.mark.slow) for part in WHICH_PART],
)
def test_example(page, number, request, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (request.config.rootpath / page).read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    if number is None or isinstance(number, slice):
        code = "\n".join(blocks[number or slice(None)])
    else:
        code = blocks[number]
    if "import torch" in code:
        pytest.importorskip("torch")
    exec(compile(code, page, "exec"), names)
    if "bounds" in names:
        assert names["bounds"].shape == (100,)
    if "held" in names:
        assert names["model"].score(names["X_test"], names["y_test"]) > 0.99
    if "report" in names:
        assert 0 < names["report"].approximation.mean() < names["report"].amortization.mean() < 1
    if page == "docs/datasets.md":
        assert names["hearts"].images.shape == (30720, 64, 64)
        assert names["hearts"].classes[-1].tolist() == [2, 5, 38, 30, 30]
    if page == "docs/getting-started.md":
        assert names["fitted"].metrics[-1]["error/test"] < 0.1
    if page == "docs/your-own-solver.md" and number == 2:
        assert abs(names["slope"] + 2.718281828**-0.5) < 1e-3
    if page == "docs/natgrad.md":
        inside = (names["low"] < names["y"]) & (names["y"] < names["high"])
        assert float(jnp.mean(inside)) > 0.5
        assert float(names["q"].kl()) > 0
    if page == "docs/estimators.md" and number == 1:
        assert names["names"][2] == "CategoricalDisARM"
    if page == "docs/estimators.md" and number == 3:
        assert abs(names["baseline"]() - 30.6) < 0.3
        assert names["logits"].max() < -0.5  # 0.45 is nearer to 0
    if page == "docs/your-own-estimator.md":
        if number == 0:  # 1000 gradients, each of 100 samples: standard errors up to .07
            assert abs(names["slopes"].mean(0) - jnp.array([2.4, 6.0])).max() < 0.5
        else:
            assert (names["found"].bias_z < 6).all()
        if number == 1:
            variance = names["found"].variance
            assert variance[0] < 0.2 * variance[1]
    if page == "docs/ode-in-your-model.md" and number == 0:
        assert abs(float(names["model"].gravity) - 9.81) < 0.3
    if page == "docs/which-part-mattered.md":
        if "square" in names:
            expected = np.zeros((8, 8), bool)
            expected[1:3, 1:3] = True
            assert (names["square"].mask("sdr")[0] == expected).all()
            assert (names["square"].mask("ssr")[0] == expected).all()
            assert not names["dear"].sdr.selected.any()
            assert "lower area_cost" in names["dear"].notes[0]
        elif "forest" in names:
            for own in names["found"].values():
                assert own.ssr.success.mean() > 0.7
                assert own.sdr.score.mean() < own.score.mean()
        else:
            assert (names["found"].predicted == names["digits"].target[1500:1504]).all()
            assert names["found"].ssr.success.mean() > 0.5
