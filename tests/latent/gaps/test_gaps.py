"""The three gaps where closed forms know them, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, CheckpointError, DataError
from backthrough.flows import (
    ContinuousFlow,
    Flow,
    GatedMLP,
    Hutchinson,
    StandardNormal,
    auxiliary_coupling_flow,
    coupling_flow,
)
from backthrough.latent import (
    ELBO,
    Annealing,
    AuxiliaryFlow,
    AuxiliaryFlowEncoder,
    FactorisedGaussian,
    FlowEncoder,
    FullGaussian,
    Optimisation,
    annealed_log_p,
    bdmc,
    bernoulli_vae,
    elbo,
    importance_log_p,
    inference_gaps,
    local_bound,
    optimise_posteriors,
    simulate,
)
from oracles.linear_gaussian import (
    LATENT,
    LOG_P,
    POSTERIOR_MEAN,
    PRECISION,
    WEIGHT,
    LinearGaussian,
    X,
)

MODEL = LinearGaussian(jnp.asarray(WEIGHT))
KEY = jax.random.key(0)
XS = jnp.tile(jnp.asarray(X), (3, 1))
QUICK = {"n_samples": 4000, "annealing": Annealing(20, n_chains=16, n_leapfrog=4)}


def encoder(x):
    """At one x: mean m + .1, variances 1.5 / precision."""
    mean = jnp.asarray(POSTERIOR_MEAN) + 0.1 + 0 * x.sum()
    return FactorisedGaussian(mean, 0.5 * jnp.log(1.5 / jnp.asarray(np.diag(PRECISION))))


@pytest.fixture(scope="module")
def report():
    return inference_gaps(MODEL, encoder, XS, key=KEY, data="three times the same", **QUICK)


def test_gaps_are_the_published_ones(report):
    """Three estimates each; within 6 standard errors, and .01 for what the optimisation leaves."""
    for name, truth in (("inference", 0.851496), ("approximation", 0.572027), ("amortization", 0.279470)):
        found, error = getattr(report, name), getattr(report, f"{name}_error")
        assert (np.abs(found - truth) < 6 * error + 0.01).all(), (name, found, error)
        assert (error < 0.2).all()
    assert (np.abs(report.log_p - LOG_P) < 6 * report.log_p_error).all()
    assert (np.abs(report.best_elbo + 17.758457) < 6 * report.best_error + 0.01).all()
    assert report.flags == ("", "", "")


def test_the_report_shows_everything(report):
    assert "three times the same" in str(report)
    assert "4,000 draws" in str(report)
    rows = report.table()
    assert list(rows.index) == [0, 1, 2]
    assert {"L[q]", "error of log p(x)", "approximation gap", "ESS of annealing", "flag"} <= set(rows.columns)
    alone = inference_gaps(MODEL, encoder, XS[:1], key=KEY, **QUICK).summary()
    assert (alone["standard error"] > 0).all()
    means = report.summary()["nats"]
    np.testing.assert_allclose(
        means["inference gap"], means["approximation gap"] + means["amortization gap"], rtol=1e-4
    )
    axes = report.plot(Figure().subplots())
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(means.iloc[-3:].tolist())


def test_a_family_that_holds_the_posterior_leaves_no_approximation_gap():
    def full(x):
        nothing = 0 * x[:LATENT]
        return FullGaussian(jnp.asarray(POSTERIOR_MEAN) + nothing, nothing, jnp.outer(nothing, nothing))

    found = inference_gaps(MODEL, encoder, XS[:1], key=KEY, family=full, **QUICK)
    assert abs(found.approximation[0]) < 6 * found.approximation_error[0] + 0.01
    assert abs(found.amortization[0] - 0.851496) < 6 * found.amortization_error[0] + 0.01


class Modes(eqx.Module):
    """x = z or -z, and noise."""

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z, 0.0, 3.0).sum()

    def log_likelihood(self, x, z):
        return jnp.logaddexp(*(jax.scipy.stats.norm.logpdf(x[0], s * z[0], 0.2) for s in (1, -1)))

    def sample_prior(self, *, key):
        return 3 * jax.random.normal(key, (1,))


def test_disagreement_is_flagged_and_the_larger_estimate_taken():
    """Two modes of equal mass, and a q that finds one: chains from the prior find both."""

    def one_mode(x):
        return FactorisedGaussian(x, jnp.full(1, -1.5))

    options = Annealing(60, n_chains=200, start="prior")
    found = inference_gaps(Modes(), one_mode, jnp.full((1, 1), 4.0), key=KEY, annealing=options)
    truth = 2 * jax.scipy.stats.norm.pdf(4.0, 0.0, np.hypot(3, 0.2))
    assert "disagree" in found.flags[0]
    assert abs(found.log_p[0] - np.log(truth)) < 6 * found.log_p_error[0]
    assert abs(found.importance.log_p[0] - np.log(truth / 2)) < 0.05


def test_the_search_never_ends_below_its_start():
    """A learning rate that throws everything away: the start is kept, it is seen in the path and flagged."""
    wild = Optimisation(20, 1, 1e12)
    found = optimise_posteriors(MODEL, encoder, XS, key=KEY, optimisation=wild)
    np.testing.assert_allclose(found.posteriors.mean, jax.vmap(encoder)(XS).mean, rtol=1e-6)
    assert not (found.path[:, 1:] > found.path[:, :1]).any()
    report = inference_gaps(MODEL, encoder, XS, key=KEY, optimisation=wild, **QUICK)
    assert all("q* was not found" in own for own in report.flags)


def test_the_search_goes_back_and_slows_down():
    """A rate that is far too large for a while: it ends where the best factorised Gaussian is."""
    found = optimise_posteriors(MODEL, encoder, XS[:1], key=KEY, optimisation=Optimisation(2000, 8, 30.0))
    elbo = local_bound(MODEL, found.posteriors, XS[:1], key=KEY, objective=ELBO(20_000))
    assert not found.path[0, 1] > found.path[0, 0] - 10
    np.testing.assert_allclose(elbo, -17.758457, atol=0.05)


def test_finished_chunks_are_kept_and_a_stopped_call_goes_on(tmp_path):
    options = {"key": KEY, "annealing": Annealing(3, n_chains=2, n_leapfrog=1), "at_once": 1}
    whole = annealed_log_p(MODEL, encoder, XS, **options)
    annealed_log_p(MODEL, encoder, XS[:2], **options | {"keep": tmp_path})
    assert len(list(tmp_path.iterdir())) == 2
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = annealed_log_p(MODEL, encoder, XS, **options | {"keep": tmp_path})
    np.testing.assert_array_equal(again.log_p, whole.log_p)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    other = eqx.tree_at(lambda own: own.weight, MODEL, MODEL.weight * 1.1)
    annealed_log_p(other, encoder, XS, **options | {"keep": tmp_path})
    assert len(list(tmp_path.iterdir())) == 6
    for path in times:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="is damaged .* delete it"):
        annealed_log_p(MODEL, encoder, XS, **options | {"keep": tmp_path})


def test_nothing_old_is_taken_for_something_else(tmp_path):
    """A field that is no array, a closure, a default, a constant in the code: each makes new chunks."""

    class Scaled(LinearGaussian):
        factor: float = eqx.field(static=True)

        def log_likelihood(self, x, z):
            return self.factor * super().log_likelihood(x, z)

    def closing_over(shift):
        return lambda x: FactorisedGaussian(x[:LATENT] + shift, x[:LATENT])

    def by_default(x, shift=0.5):
        return FactorisedGaussian(x[:LATENT] + shift, x[:LATENT])

    encoders = [
        closing_over(0.1),
        closing_over(0.2),
        closing_over(jnp.full(LATENT, 0.3)),
        by_default,
        lambda x: FactorisedGaussian(x[:LATENT] + 0.6, x[:LATENT]),
        lambda x: FactorisedGaussian(x[:LATENT] + 0.7, x[:LATENT]),
    ]
    models = [Scaled(MODEL.weight, factor) for factor in (1.0, 0.5)]
    for times in (1, 2):  # the second time everything is there
        found = [
            importance_log_p(model, own, XS[:1], key=KEY, n_samples=30, keep=tmp_path).log_p[0]
            for own in encoders
            for model in models
        ]
        assert len(set(found)) == len(found)
        assert len(list(tmp_path.iterdir())) == len(found), times


def test_options_are_checked():
    for wrong, message in (
        ({"temperatures": (0.0, 0.6, 0.5, 1.0)}, "must increase from 0 to 1"),
        ({"temperatures": (0.1, 1.0)}, "must increase from 0 to 1"),
        ({"temperatures": 0}, "temperatures of Annealing must be at least 1"),
        ({"n_chains": 0}, "n_chains of Annealing must be at least 1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Annealing(**wrong)
    assert Annealing(2, schedule="sigmoid").ladder().tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(ArgumentError, match="n_steps of Optimisation must be at least 20"):
        Optimisation(n_steps=5)


BAD = {
    "no examples": ({"x": XS[:0]}, ArgumentError, "x has no examples"),
    "NaN": ({"x": XS.at[1, 2].set(jnp.nan)}, DataError, r"entry \(1, 2\) is nan"),
    "few draws": ({"n_samples": 1}, ArgumentError, "n_samples must be at least 2"),
    "another latent": (
        {"encoder": lambda x: FactorisedGaussian(x[:3], x[:3])},
        ArgumentError,
        r"z of q has shape \(3,\), and z of the model \(4,\)",
    ),
    "no density": (
        {
            "encoder": lambda x: AuxiliaryFlow(
                FactorisedGaussian(x[:4], x[:4]),
                auxiliary_coupling_flow(4, key=KEY),
                eqx.nn.Linear(4, 8, key=KEY),
            )
        },
        ArgumentError,
        r"annealing from q needs the log_prob of q, and AuxiliaryFlow has none: pass .*start=\"prior\"",
    ),
    "a density with noise": (
        {
            "encoder": lambda x: Flow(
                StandardNormal(4), ContinuousFlow(GatedMLP(4, (3,), key=KEY), trace=Hutchinson())
            )
        },
        ArgumentError,
        "needs the density of q without noise",
    ),
}


@pytest.mark.slow
def test_posteriors_that_are_flows():
    """One with integers among its arrays (permutations), and one without a density, from the prior."""
    keys = jax.random.split(KEY, 3)
    flow = FlowEncoder(
        eqx.nn.Linear(8, 2 * LATENT, key=keys[0]),
        coupling_flow(LATENT, 2, hidden_size=8, key=keys[1]),
        jnp.zeros(8),
        LATENT,
    )
    auxiliary = AuxiliaryFlowEncoder(
        flow.network,
        auxiliary_coupling_flow(LATENT, hidden_size=8, key=keys[1]),
        eqx.nn.Linear(LATENT, 2 * LATENT, key=keys[2]),
        jnp.zeros(8),
        LATENT,
    )
    for own, start in ((flow, "posterior"), (auxiliary, "prior")):
        annealing = Annealing(60, n_leapfrog=4, start=start)
        options = {"n_samples": 500, "optimisation": Optimisation(400, 4), "annealing": annealing}
        found = inference_gaps(MODEL, own, XS[:1], key=KEY, **options)
        assert found.amortization[0] > 5 * found.amortization_error[0]  # it was not trained
        assert found.best_elbo[0] < LOG_P + 6 * found.best_error[0]
        assert found.best_elbo[0] > LOG_P - 1.5
        assert abs(found.annealed.log_p[0] - LOG_P) < 6 * found.annealed.error[0] + 0.05


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case):
    wrong, kind, message = BAD[case]
    options = {"encoder": encoder, "x": XS, "key": KEY, **wrong}
    with pytest.raises(kind, match=message):
        inference_gaps(MODEL, options.pop("encoder"), options.pop("x"), **options)


def test_densities_that_are_not_one_number_are_refused():
    """A forgotten sum would be averaged, and be above log p(x)."""

    class Forgot(LinearGaussian):
        def log_likelihood(self, x, z):
            return jax.scipy.stats.norm.logpdf(x, self.weight @ z, 0.5)

    model = Forgot(MODEL.weight)
    message = r"log_likelihood of Forgot must be one number for one example, got shape \(8,\): sum"
    for function in (elbo, importance_log_p, annealed_log_p):
        with pytest.raises(ArgumentError, match=message):
            function(model, encoder, XS, key=KEY)


def test_code_that_changes_is_seen(tmp_path):
    """A global constant of a user's module, which no digest of the code's own would see."""
    scale = {"noise": 0.5}

    class Own(LinearGaussian):
        def log_likelihood(self, x, z):
            return jax.scipy.stats.norm.logpdf(x, self.weight @ z, noise()).sum()

    def noise():
        return scale["noise"]

    found = []
    for value in (0.5, 1.0):
        scale["noise"] = value
        options = {"key": KEY, "n_samples": 50, "keep": str(tmp_path)}
        found.append(importance_log_p(Own(MODEL.weight), encoder, XS, **options))
    assert abs(found[0].log_p - found[1].log_p).min() > 1


def test_tracing_is_refused():
    with pytest.raises(ArgumentError, match="on the host, not under jit"):
        jax.jit(lambda x: importance_log_p(MODEL, encoder, x, key=KEY).log_p)(XS)


def test_sums_of_large_numbers_keep_their_digits():
    """log p(x) of about -5e5: the error holds what rounding makes, which is much in single precision."""

    class Large(LinearGaussian):
        def log_likelihood(self, x, z):
            return super().log_likelihood(x, z) - 5e5

    found = inference_gaps(Large(MODEL.weight), encoder, XS, key=KEY, **QUICK)
    assert (found.log_p_error > 5e5 * 5 * jnp.finfo(jnp.result_type(float)).eps).all()
    assert (np.abs(found.log_p + 5e5 - LOG_P) < 6 * found.log_p_error).all()
    assert (np.abs(found.inference - 0.851496) < 6 * found.inference_error).all()


def test_bits_are_asked_for():
    model, own = bernoulli_vae(np.full(4, 0.5), latent_size=2, hidden_sizes=(3,), key=KEY)
    for x, entry in ((np.full((2, 4), 0.5), "0.5"), (np.full((2, 4), 255, np.uint8), "255")):
        with pytest.raises(DataError, match=rf"x must be 0 or 1 .* entry \(0, 0\) is {entry}"):
            importance_log_p(model, own, x, key=KEY)


def test_networks_in_training_mode_are_refused():
    layers = [eqx.nn.Linear(4, 8, key=KEY), eqx.nn.Dropout(0.1)]
    model = LinearGaussian(jnp.asarray(WEIGHT))
    wrong = eqx.tree_at(lambda own: own.weight, model, eqx.nn.Sequential(layers))
    with pytest.raises(ArgumentError, match=r"model has a Dropout in training mode.*inference_mode\(model\)"):
        importance_log_p(wrong, encoder, XS, key=KEY)


def test_a_model_that_gives_nan_is_named_with_its_example():
    class Broken(LinearGaussian):
        def log_likelihood(self, x, z):
            return jnp.where(x[0] > 5, jnp.nan, 0.0) * z.sum()

    xs = XS.at[2, 0].set(6.0)
    for function in (importance_log_p, annealed_log_p, inference_gaps):
        with pytest.raises(DataError, match="of example 2 is NaN"):
            function(Broken(MODEL.weight), encoder, xs, key=KEY)


def test_bdmc_takes_simulated_data_only():
    with pytest.raises(ArgumentError, match=r"only data that the model has drawn have: pass simulate\("):
        bdmc(MODEL, XS, encoder, key=KEY)
    simulated = simulate(MODEL, 2, key=KEY)
    with pytest.raises(ArgumentError, match="chains that start from the posterior need q"):
        bdmc(MODEL, simulated, key=KEY)
    with pytest.raises(ArgumentError, match=r"needs sample_x\(z, \*, key\) of the model"):
        simulate(Modes(), 2, key=KEY)


def test_weak_estimates_are_flagged():
    """A q far away: one weight is nearly all."""

    def far(x):
        return FactorisedGaussian(jnp.full(LATENT, 5.0) + 0 * x.sum(), jnp.zeros(LATENT))

    found = importance_log_p(MODEL, far, XS[:1], key=KEY, n_samples=100)
    assert "one weight is nearly all" in found.flags[0]
