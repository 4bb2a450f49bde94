"""Makes existing networks binary.

`trace` gets the graph of a network, `structure` reads from it what is known about each layer, `convert` replaces the
layers, and `record` says what became of each.
"""
