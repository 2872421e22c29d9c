"""The gradient flow of one step: what each loss does to the parameters that it shares with others."""
