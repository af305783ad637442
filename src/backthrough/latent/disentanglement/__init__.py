"""What codes of a data set have in common with its factors, and objectives that press for it."""

from backthrough.latent.disentanglement.aggregate import LogAggregate, log_aggregate
from backthrough.latent.disentanglement.binned import (
    BinnedMIG,
    binned_mutual_information,
    mig_binned,
    modularity,
)
from backthrough.latent.disentanglement.codes import Codes
from backthrough.latent.disentanglement.dci import DCI, completeness_of, dci, disentanglement_of
from backthrough.latent.disentanglement.decomposition import Decomposition, tc_decomposition
from backthrough.latent.disentanglement.explicitness import Explicitness, explicitness
from backthrough.latent.disentanglement.factors import Factors, read_factors
from backthrough.latent.disentanglement.mig import MIG, mig
from backthrough.latent.disentanglement.mutual_information import MutualInformation, mutual_information
from backthrough.latent.disentanglement.objectives import (
    FactorVAETerms,
    TCTerms,
    beta_tcvae,
    beta_vae,
    factor_vae,
)
from backthrough.latent.disentanglement.report import Disentanglement, metrics
from backthrough.latent.disentanglement.sap import SAP, sap
from backthrough.latent.disentanglement.traversals import traverse
from backthrough.latent.disentanglement.votes import (
    BetaVAEScore,
    FactorVAEScore,
    beta_vae_score,
    factor_vae_score,
)

__all__ = [
    "DCI",
    "MIG",
    "SAP",
    "BetaVAEScore",
    "BinnedMIG",
    "Codes",
    "Decomposition",
    "Disentanglement",
    "Explicitness",
    "FactorVAEScore",
    "FactorVAETerms",
    "Factors",
    "LogAggregate",
    "MutualInformation",
    "TCTerms",
    "beta_tcvae",
    "beta_vae",
    "beta_vae_score",
    "binned_mutual_information",
    "completeness_of",
    "dci",
    "disentanglement_of",
    "explicitness",
    "factor_vae",
    "factor_vae_score",
    "log_aggregate",
    "metrics",
    "mig",
    "mig_binned",
    "modularity",
    "mutual_information",
    "read_factors",
    "sap",
    "tc_decomposition",
    "traverse",
]
