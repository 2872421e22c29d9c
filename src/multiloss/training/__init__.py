"""The trainer and what belongs to a fit: callbacks, checkpoints, devices, records on disk.

`Trainer` holds the parts, `Fit` is one run of its loop, `Forward` the path from a batch to its losses.
"""
