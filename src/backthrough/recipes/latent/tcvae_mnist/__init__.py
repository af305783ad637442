"""Beta-TCVAE beside beta-VAE on pictures whose factors nobody knows (Chen et al. 2018, section 6)."""
