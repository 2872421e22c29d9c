"""Floor 1: types, errors, records and the mathematics of the sum. Imports nothing of multiloss above it."""
