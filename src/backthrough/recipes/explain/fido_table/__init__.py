"""A forest on a table: which columns its answers rest on."""
