"""The architectures in torch; `keras_peer.py` holds the same ones in Keras."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Energy(nn.Module):
    """Trunk 128-128; `y1` off the trunk, `y2` behind one more layer of 64."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.y1 = nn.Linear(128, 1)
        self.y2 = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {"y1": self.y1(features).squeeze(1), "y2": self.y2(features).squeeze(1)}


class Tickets(nn.Module):
    """An LSTM over the title, an LSTM over the body, both beside the tags; two linear outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.title_tokens = nn.Embedding(10_000, 64)
        self.body_tokens = nn.Embedding(10_000, 64)
        self.title_lstm = nn.LSTM(64, 128, batch_first=True)
        self.body_lstm = nn.LSTM(64, 32, batch_first=True)
        self.priority = nn.Linear(128 + 32 + 12, 1)
        self.department = nn.Linear(128 + 32 + 12, 4)

    def forward(self, title: Tensor, body: Tensor, tags: Tensor) -> dict[str, Tensor]:
        _, (title_state, _) = self.title_lstm(self.title_tokens(title))
        _, (body_state, _) = self.body_lstm(self.body_tokens(body))
        features = torch.cat([title_state[0], body_state[0], tags], 1)
        return {"priority": self.priority(features).squeeze(1), "department": self.department(features)}


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


def _dense(inputs: int, hidden: int, classes: int) -> list[nn.Module]:
    return [
        nn.Flatten(),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.BatchNorm1d(hidden),
        nn.Dropout(0.5),
        nn.Linear(hidden, classes),
    ]


class Fashion(nn.Module):
    """Two convolutional branches that share nothing but the image."""

    def __init__(self) -> None:
        super().__init__()
        self.category = nn.Sequential(
            *_conv(3, 32), nn.MaxPool2d(3), nn.Dropout(0.25),
            *_conv(32, 64), *_conv(64, 64), nn.MaxPool2d(2), nn.Dropout(0.25),
            *_conv(64, 128), *_conv(128, 128), nn.MaxPool2d(2), nn.Dropout(0.25),
            *_dense(128 * 8 * 8, 256, 4),
        )  # fmt: skip
        self.color = nn.Sequential(
            *_conv(3, 16), nn.MaxPool2d(3), nn.Dropout(0.25),
            *_conv(16, 32), nn.MaxPool2d(2), nn.Dropout(0.25),
            *_conv(32, 32), nn.MaxPool2d(2), nn.Dropout(0.25),
            *_dense(32 * 8 * 8, 128, 3),
        )  # fmt: skip

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"category": self.category(image), "color": self.color(image)}


MODELS: dict[str, type[nn.Module]] = {"energy": Energy, "tickets": Tickets, "fashion": Fashion}


def build(name: str) -> nn.Module:
    """Return the model of a task, with the same initial weights each time."""
    torch.manual_seed(0)
    model = MODELS[name]()
    # Convolutions on a CPU are faster in this layout, and it is Keras's own; it changes nothing for the other models.
    return model.to(memory_format=torch.channels_last)
