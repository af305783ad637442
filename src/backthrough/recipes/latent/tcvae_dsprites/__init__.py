"""Beta-TCVAE and beta-VAE on sprites whose factors are known (Chen et al. 2018)."""
