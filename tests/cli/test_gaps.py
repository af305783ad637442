import csv
import json
import sys

import pytest

from backthrough.cli.main import main

PROBLEM = '''
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.latent import FactorisedGaussian


class Model(eqx.Module):
    """x = z + noise of variance 1, so that p(x) = N(0, 2)."""

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jax.scipy.stats.norm.logpdf(x, z).sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, (1,))


def encoder(x):
    """Half a unit beside the posterior N(x/2, 1/2): a gap of a quarter."""
    return FactorisedGaussian(x / 2 + 0.5, jnp.full(1, 0.5 * np.log(0.5)))


def problem():
    return Model(), encoder, np.linspace(-1, 1, 12)[:, None]


def pair():
    return Model(), encoder


def no_model():
    return 3, encoder, np.zeros((4, 1))


def no_data():
    return Model(), encoder, np.zeros((0, 1))


def breaks():
    return Model(), lambda x: encoder(x) + missing, np.zeros((4, 1))
'''
TINY = ("--n-steps=200", "--temperatures=4", "--n-samples=1000", "--at-once=4")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_vae.py").write_text(PROBLEM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_vae", None)


def gaps(*words):
    return main(["gaps", *map(str, words)])


def test_a_model_of_ones_own(folder, capsys):
    """The gaps have a closed form; within 6 standard errors."""
    run = folder / "run"
    assert gaps("my_vae:problem", "--run-dir", run, "--n-examples=8", *TINY) == 0
    result = json.loads((run / "result.json").read_text())
    numbers = {number["name"]: number for number in result["numbers"]}
    for name, truth in (("inference gap", 0.25), ("approximation gap", 0), ("amortization gap", 0.25)):
        assert abs(numbers[name]["value"] - truth) < 6 * numbers[name]["standard_error"] + 0.01
        assert "mean over 8 examples (from my_vae:problem)" in numbers[name]["what"]
    assert "1,000 draws an example" in numbers["L[q]"]["what"]
    assert "mostly because of the encoder" in result["headline"]["sentence"]
    with open(run / "gaps.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert len({row["row"] for row in rows}) == 8
    assert (run / "report.html").exists()
    assert "L[q*]" in capsys.readouterr().out
    assert len(list((run / "chunks").iterdir())) == 2 * 5
    # Stopped after half of the chunks it goes on with the same numbers.
    for path in sorted((run / "chunks").iterdir())[::2]:
        path.unlink()
    before = (run / "result.json").read_bytes()
    assert gaps("--run-dir", run, "--resume") == 0
    assert (run / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "gaps needs a finished run or MODULE:FUNCTION"),
        (("nowhere",), 2, "there is no run"),
        (("my_vae:problm",), 2, "did you mean 'problem'"),
        (("my_vae:pair",), 2, "my_vae:pair must return (model, encoder, x), it returned a tuple of 2"),
        (("my_vae:no_model",), 2, "the model of my_vae:no_model needs log_prior, and int has none"),
        (("my_vae:no_data",), 2, "x has no examples"),
        (("my_vae:breaks",), 1, "in <lambda>: your code raised NameError"),
        (("my_vae:problem", "--n-samples=1"), 2, "n_samples must be at least 2"),
    ],
)
def test_wrong_use_is_named(words, code, message, folder, capsys):
    assert gaps(*words, *(["--run-dir", "run"] if words else [])) == code
    assert message in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_a_run_of_something_else(folder, capsys):
    (folder / "other").mkdir()
    (folder / "other" / "config.json").write_text(json.dumps({"recipe": "cnf-2d"}))
    assert gaps("other") == 2
    assert "gaps reads runs of vae-mnist" in capsys.readouterr().err
