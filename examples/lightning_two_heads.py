"""A LightningModule with two heads, and what its logged total is made of: python examples/lightning_two_heads.py."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from multiloss.integrations.lightning import ExplainLoss


class TwoHeads(LightningModule):
    """A trunk with a number and a class on it. Total and parts are logged alike: as means of the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.price, self.kind = nn.Linear(32, 1), nn.Linear(32, 3)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the weighted sum."""
        x, price, kind = batch
        features = self.trunk(x)
        of_price = F.mse_loss(self.price(features).squeeze(1), price)
        of_kind = F.cross_entropy(self.kind(features), kind)
        total = of_price + 0.2 * of_kind
        parts = {"train_loss": total, "train_loss_price": of_price, "train_loss_kind": of_kind}
        self.log_dict(parts, on_step=False, on_epoch=True)
        return total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW, whose weight decay is in no loss."""
        return torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=0.01)


def main() -> None:
    """Train three epochs and print the equation of each."""
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    rows = DataLoader(TensorDataset(x, x[:, 0], (x[:, 1] > 0).long()), batch_size=32, shuffle=True)
    explain = ExplainLoss("train_loss", weights={"price": 1.0, "kind": 0.2})
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_epochs=3, accelerator="cpu", callbacks=[explain], **off).fit(TwoHeads(), rows)


if __name__ == "__main__":
    main()
