"""The formats of training logs, a file for each family; `diagnosis.training_log` chooses among them."""
