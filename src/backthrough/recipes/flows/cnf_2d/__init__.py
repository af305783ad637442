"""A continuous flow on points in the plane."""
