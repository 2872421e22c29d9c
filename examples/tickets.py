"""C2: support tickets. Three inputs by name, two outputs, and the equation of the total with its numbers.

Title and body are sequences of word numbers, tags a row of zeros and ones; the model tells whether a ticket is urgent
and which of four departments it belongs to. Run it: python examples/tickets.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import multiloss as ml

WORDS, TAGS, DEPARTMENTS = 20, 12, 4


class Tickets(nn.Module):
    """Embeddings and LSTMs for the texts, joined with the tags; one linear layer for each output."""

    def __init__(self) -> None:
        super().__init__()
        self.title_words, self.body_words = nn.Embedding(WORDS, 32), nn.Embedding(WORDS, 32)
        self.title, self.body = nn.LSTM(32, 64, batch_first=True), nn.LSTM(32, 32, batch_first=True)
        self.priority, self.department = nn.Linear(64 + 32 + TAGS, 1), nn.Linear(64 + 32 + TAGS, DEPARTMENTS)

    def forward(self, title: Tensor, body: Tensor, tags: Tensor) -> dict[str, Tensor]:
        """Return one logit for the priority and one for each department."""
        last_of_title = self.title(self.title_words(title))[0][:, -1]
        last_of_body = self.body(self.body_words(body))[0][:, -1]
        features = torch.cat([last_of_title, last_of_body, tags], 1)
        return {"priority": self.priority(features).squeeze(1), "department": self.department(features)}


def tickets(number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return made-up tickets: the tags decide the department, and three of them the priority."""
    title, body = torch.randint(WORDS, (number, 10)), torch.randint(WORDS, (number, 40))
    tags = torch.randint(2, (number, TAGS)).float()
    targets = {"priority": tags[:, 0], "department": (2 * tags[:, 1] + tags[:, 2]).long()}
    return {"title": title, "body": body, "tags": tags}, targets


def main() -> ml.History:
    """Train, and print the equation of the first and the last epoch."""
    torch.manual_seed(0)
    objective = ml.Objective(
        loss={"priority": "binary_cross_entropy", "department": "cross_entropy"},
        loss_weights={"priority": 1.0, "department": 0.2},
        metrics="accuracy",
    )
    trainer = ml.Trainer(Tickets(), objective, optimizer="rmsprop", lr=1e-2, callbacks=[ml.BestCheckpoint()])
    history = trainer.fit(tickets(1280), validation=0.2, epochs=5, batch_size=32)
    print(history.ledger(1), history.ledger(), sep="\n")
    return history


if __name__ == "__main__":
    main()
