"""Models with several outputs: an encoder, a trunk that the outputs share, a head for each of them.

A model is any `nn.Module` that returns its outputs by name; `ModelCaller` also calls those that return a tuple.
The parts here are for those who have no model yet. What the outputs share is the **trunk**: one set of weights,
moved by every loss. What a head owns is moved by its own loss alone. Heads return raw values (logits, log rates,
standardised numbers), because losses need those; `multiloss.core.decode` makes predictions of them.

Example:
    >>> import torch
    >>> from multiloss.nn import MLP, BinaryHead, HardSharing, MulticlassHead, RegressionHead, parameter_groups
    >>> heads = {
    ...     "price": RegressionHead(64, mean=250.0, scale=40.0),
    ...     "kind": MulticlassHead(64, classes=3, hidden=[32]),
    ...     "sold": BinaryHead(64),
    ... }
    >>> model = HardSharing(MLP(8, [64, 64]), heads)
    >>> outputs = model(torch.randn(10, 8))
    >>> {name: list(output.shape) for name, output in outputs.items()}
    {'price': [10], 'kind': [10, 3], 'sold': [10]}
    >>> optimizer = torch.optim.Adam(parameter_groups(model, {"trunk": 1e-4, "default": 1e-3}))
"""

from multiloss.nn.base import Inputs, ModelCaller, unwrap
from multiloss.nn.encoders import TableEncoder, embedding_dim
from multiloss.nn.groups import parameter_groups
from multiloss.nn.hard_sharing import HardSharing
from multiloss.nn.heads import BinaryHead, CountHead, MulticlassHead, MultilabelHead, RegressionHead, make_head
from multiloss.nn.mlp import ACTIVATIONS, MLP, NORMS
from multiloss.nn.ordinal import OrdinalHead

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "NORMS",
    "BinaryHead",
    "CountHead",
    "HardSharing",
    "Inputs",
    "ModelCaller",
    "MulticlassHead",
    "MultilabelHead",
    "OrdinalHead",
    "RegressionHead",
    "TableEncoder",
    "embedding_dim",
    "make_head",
    "parameter_groups",
    "unwrap",
]
