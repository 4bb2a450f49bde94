"""Networks of others made binary.

`trace` is the graph of a network, `structure` what that says of each layer, `convert` replaces the layers, and `record`
tells what became of each.
"""
