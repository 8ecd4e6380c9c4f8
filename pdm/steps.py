"""Steps: what the twin saw, made from readings. Pure functions."""
