"""Latent ODEs and their rivals on records of intensive-care patients."""
