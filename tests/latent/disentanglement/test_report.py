import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.latent import Codes, metrics, mig, mig_binned

LABELS = np.random.default_rng(0).integers(0, [4, 3], (1500, 2))
PERFECT = Codes(
    np.c_[LABELS, np.zeros(len(LABELS))] + 0.05 * np.random.default_rng(1).normal(size=(1500, 3)),
    np.broadcast_to([0.05, 0.05, 1.0], (1500, 3)),
)


@pytest.fixture(scope="module")
def report():
    return metrics(PERFECT, pd.DataFrame(LABELS, columns=["shape", "size"]), n_rows=500)


def test_a_perfect_code_has_full_marks(report):
    assert not report.missing
    for name, mean in report.means.items():
        # SAP's linear machines tell only the outer classes of an ordered factor; noise has some modularity
        assert mean > {"SAP": 0.2, "modularity": 0.6}.get(name, 0.95), name
    assert report.table().shape == (10, 3)
    assert report.sentence().startswith("shape, size have a latent of its own")


def test_it_is_the_single_metrics(report):
    np.testing.assert_allclose(report.per_factor["MIG"], mig(PERFECT, LABELS).gaps)
    np.testing.assert_allclose(report.per_factor["MIG, binned"], mig_binned(PERFECT.means, LABELS).per_factor)
    assert "drawn at random" in str(report)
    assert report.plot(matplotlib.figure.Figure().subplots()).images


def test_means_alone_have_no_exact_mixtures():
    found = metrics(PERFECT.means, LABELS, only=["MIG, binned", "DCI completeness"])
    assert list(found.means) == ["MIG, binned", "DCI completeness"]
    with pytest.raises(ArgumentError, match="need the scales"):
        metrics(PERFECT.means, LABELS, only=["MIG"])


def test_what_one_factor_does_not_allow_is_named():
    found = metrics(PERFECT, LABELS[:, 0], n_rows=300)
    assert set(found.missing) >= {"modularity", "FactorVAE score", "beta-VAE score"}
    assert "no modularity: modularity needs" in str(found)
    with pytest.raises(ArgumentError, match="two factors"):
        metrics(PERFECT, LABELS[:, 0], only=["modularity"])


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="MIG"):
        metrics(PERFECT, LABELS, only=["MIGG"])
    with pytest.raises(ArgumentError, match="counts every example once"):
        metrics(Codes(PERFECT.means, PERFECT.scales, weights=np.arange(1500)), LABELS)
    with pytest.raises((ArgumentError, DataError), match="1500 rows and labels 10"):
        metrics(PERFECT, LABELS[:10])


def test_codes_in_small_units_have_no_votes_and_it_says_so():
    found = metrics(1e-3 * PERFECT.means, LABELS, n_rows=300)
    assert "factor_vae_score takes min_std" in found.missing["FactorVAE score"]
