"""Floor 5: what a run is made of, as one file of YAML.

`load` reads and checks it, `build` makes a model, an objective and a trainer of it.
"""
