"""The synthetic generator: one file a mechanism, each with its dials, its draws and, where it is an evidence, its exact likelihood."""
