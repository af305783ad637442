"""Error bars in one dimension, and whether those of a table hold."""
