"""Pages drawn from the records of runs, without the model, the data or a device."""
