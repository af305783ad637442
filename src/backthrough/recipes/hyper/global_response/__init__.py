"""A recipe."""
