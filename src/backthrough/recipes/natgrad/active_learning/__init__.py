"""Active learning."""
