"""How good inference is on each example, and why: the gaps, with their errors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from backthrough.latent.gaps.likelihood import LogLikelihood
from backthrough.latent.gaps.pareto import LARGEST_SHAPE
from backthrough.train import Number, mean_number

GAPS = ("inference", "approximation", "amortization")


@dataclass(frozen=True)
class GapReport:
    """log p(x) >= L[q*] >= L[q], and what lies between (Cremer, Li and Duvenaud 2018, sec. 3).

    All in nats, one entry for each example; errors are standard errors by the spread of draws.

    Attributes:
        encoder_elbo: L[q], the ELBO of the encoder's posterior.
        encoder_error: Its error.
        best_elbo: L[q*], the ELBO of the best posterior of the family, found for the example alone.
        best_error: Its error.
        importance: log p(x) by importance sampling from q*.
        annealed: log p(x) by annealed importance sampling.
        log_p: Of both estimates: where they are more than four errors apart the larger one, since both are
            too small on average; else by `pareto_k`, the tail of the importance weights: that of annealing
            above 0.7, that of importance sampling below 0.5, the logarithm of the mean of both between.
        log_p_error: Its error.
        flags: What is wrong with an example's figures; "" where nothing is.
        data: What the examples are, and how they were binarised, in words of the caller's.
        n_samples: Draws in each ELBO, and weights in `importance`.
    """

    encoder_elbo: Float[np.ndarray, "example"]
    encoder_error: Float[np.ndarray, "example"]
    best_elbo: Float[np.ndarray, "example"]
    best_error: Float[np.ndarray, "example"]
    importance: LogLikelihood
    annealed: LogLikelihood
    log_p: Float[np.ndarray, "example"]
    log_p_error: Float[np.ndarray, "example"]
    flags: tuple[str, ...]
    data: str
    n_samples: int

    @property
    def inference(self) -> Float[np.ndarray, "example"]:
        """log p(x) - L[q], the whole gap."""
        return self.log_p - self.encoder_elbo

    @property
    def approximation(self) -> Float[np.ndarray, "example"]:
        """log p(x) - L[q*], what the family cannot do."""
        return self.log_p - self.best_elbo

    @property
    def amortization(self) -> Float[np.ndarray, "example"]:
        """L[q*] - L[q], what the encoder leaves undone."""
        return self.best_elbo - self.encoder_elbo

    @property
    def inference_error(self) -> Float[np.ndarray, "example"]:
        """That of `inference`."""
        return np.hypot(self.log_p_error, self.encoder_error)

    @property
    def approximation_error(self) -> Float[np.ndarray, "example"]:
        """That of `approximation`."""
        return np.hypot(self.log_p_error, self.best_error)

    @property
    def amortization_error(self) -> Float[np.ndarray, "example"]:
        """That of `amortization`."""
        return np.hypot(self.best_error, self.encoder_error)

    def table(self) -> pd.DataFrame:
        """One row an example."""
        columns = {
            "L[q]": self.encoder_elbo,
            "error of L[q]": self.encoder_error,
            "L[q*]": self.best_elbo,
            "error of L[q*]": self.best_error,
            "log p(x)": self.log_p,
            "error of log p(x)": self.log_p_error,
            "importance sampling": self.importance.log_p,
            "ESS of importance sampling": self.importance.ess,
            "Pareto k": self.importance.pareto_k,
            "annealing": self.annealed.log_p,
            "ESS of annealing": self.annealed.ess,
        }
        for gap in GAPS:
            columns[f"{gap} gap"] = getattr(self, gap)
            columns[f"error of {gap} gap"] = getattr(self, f"{gap}_error")
        rows = pd.DataFrame(columns, index=pd.RangeIndex(len(self.log_p), name="example"))
        return rows.assign(flag=self.flags)

    def summary(self) -> pd.DataFrame:
        """Means over examples with their standard errors, which hold the spread of examples and of draws.

        Of a single example it is its own error, that of its draws.
        """
        rows = {
            "L[q]": (self.encoder_elbo, self.encoder_error),
            "L[q*]": (self.best_elbo, self.best_error),
            "log p(x)": (self.log_p, self.log_p_error),
            "log p(x), importance sampling": (self.importance.log_p, self.importance.error),
            "log p(x), annealing": (self.annealed.log_p, self.annealed.error),
            **{f"{gap} gap": (getattr(self, gap), getattr(self, f"{gap}_error")) for gap in GAPS},
        }
        n = len(self.log_p)
        means = {name: values.mean() for name, (values, _) in rows.items()}
        errors = {
            name: values.std(ddof=1) / np.sqrt(n) if n > 1 else own[0] for name, (values, own) in rows.items()
        }
        return pd.DataFrame({"nats": means, "standard error": errors})

    def numbers(self) -> list[Number]:
        """The same means for a run's result, each with what it is of and how it was found."""
        of = f"mean over {len(self.log_p):,} examples{f' ({self.data})' if self.data else ''}"
        elbo = f"{self.n_samples:,} draws an example"
        both = "of both estimates, see GapReport.log_p"
        rows = (
            ("L[q]", self.encoder_elbo, f"ELBO of the encoder's posterior, {elbo}"),
            ("L[q*]", self.best_elbo, f"ELBO of the best posterior of each example, {elbo}"),
            ("log p(x), importance sampling", self.importance.log_p, f"{self.importance.method} (q*)"),
            ("log p(x), annealing", self.annealed.log_p, self.annealed.method),
            ("log p(x)", self.log_p, both),
            ("inference gap", self.inference, "log p(x) - L[q]"),
            ("approximation gap", self.approximation, "log p(x) - L[q*]: what the family cannot do"),
            ("amortization gap", self.amortization, "L[q*] - L[q]: what the encoder leaves undone"),
        )
        numbers = [mean_number(name, values, "nats", f"{what}; {of}") for name, values, what in rows]
        flagged = sum(map(bool, self.flags))
        return [*numbers, Number("flagged examples", float(flagged), "", f"of {len(self.flags):,}")]

    def sentence(self) -> str:
        """Which gap is the larger one, in words, and how many examples not to trust."""
        whole, family, encoder = (getattr(self, gap).mean() for gap in GAPS)
        larger = "the encoder" if encoder > family else "the family of posteriors"
        flagged = sum(map(bool, self.flags))
        return (
            f"The ELBO is {whole:.3g} nats below log p(x), mostly because of {larger}: {encoder:.3g} are "
            f"left by the encoder (amortization gap), {family:.3g} by the family (approximation gap)"
            f"{f'; {flagged:,} of {len(self.flags):,} examples are flagged' if flagged else ''}."
        )

    def plot(self, axes: Axes) -> Axes:
        """Three bars with standard errors: the inference gap, and the two gaps that it is the sum of."""
        means = self.summary().loc[[f"{gap} gap" for gap in GAPS]]
        colours = ("0.55", "C0", "C1")
        axes.bar(GAPS, means["nats"], yerr=means["standard error"], color=colours, capsize=4)
        for place, value in enumerate(means["nats"]):
            axes.annotate(
                f"{value:.2f}", (place, value), xytext=(6, 4), textcoords="offset points", fontsize=9
            )
        axes.set(ylabel="nats", title=f"mean gaps of {len(self.log_p):,} examples")
        axes.margins(y=0.15)
        return axes

    def __str__(self) -> str:
        """The summary, what it is of, and how many examples are flagged."""
        flagged = sum(map(bool, self.flags))
        lines = [
            self.summary().round(3).to_string(),
            f"{len(self.log_p):,} examples{f' ({self.data})' if self.data else ''}; {self.n_samples:,} draws "
            f"an ELBO; log p(x) by {self.importance.method} (q*), and {self.annealed.method}",
        ]
        heavy = int((np.asarray(self.importance.pareto_k, float) > LARGEST_SHAPE).sum())
        if heavy:
            lines.append(f"log p(x) of {heavy:,} of them by annealing alone: their weights have a heavy tail")
        if flagged:
            lines.append(f"{flagged:,} of them flagged: see table()")
        return "\n".join(lines)
