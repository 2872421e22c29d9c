"""Run by `test_lightning.py` in a process of its own: fits real LightningModules and prints what came out."""

from __future__ import annotations

import doctest
import importlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

ROWS, BATCH = 50, 16  # a short last batch


def build(pl: Any, **log: Any) -> Any:
    """Two heads; the total is a + 0.2 b + 0.1 of a term that may be logged as a part."""
    import torch

    class Heads(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.trunk = torch.nn.Linear(8, 16)
            self.a, self.b = torch.nn.Linear(16, 1), torch.nn.Linear(16, 1)
            self.seen: list[tuple[str, int, float, float, float]] = []

        def step(self, batch: Any, stage: str) -> Any:
            x, y = batch
            h = self.trunk(x).relu()
            a, b = ((self.a(h) - y) ** 2).mean(), ((self.b(h) + y) ** 2).mean()
            extra = log.get("extra", 0.0)
            total = a + 0.2 * b + extra
            self.seen.append((stage, len(x), total.item(), a.item(), b.item()))
            parts = {f"{stage}_loss_a": a, f"{stage}_loss_b": b, f"{stage}_mae": a.sqrt()}
            self.log_dict(parts, on_step=log.get("parts_on_step", False), on_epoch=not log.get("parts_on_step", False))
            whole = log.get("total_on_step", False)
            self.log(f"{stage}_loss", total, on_step=whole, on_epoch=not whole)
            return total

        def training_step(self, batch: Any) -> Any:
            return self.step(batch, "train")

        def validation_step(self, batch: Any) -> Any:
            return self.step(batch, "val")

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), 1e-2, weight_decay=0.1)

    torch.manual_seed(0)
    return Heads()


def explained(pl: Any, explain: Any, *, epochs: int = 2, validate: bool = False, **log: Any) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 8, generator=generator)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :1]), BATCH)
    module, out = build(pl, **log), io.StringIO()
    explain.stream = out
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[explain], gradient_clip_val=0.5, **off)
    trainer.fit(module, loader, loader if validate else None)
    return {"text": out.getvalue(), "ledgers": [r.to_dict() for r in explain.ledgers], "seen": module.seen}


def main() -> None:
    warnings.simplefilter("ignore")
    package, folder = sys.argv[1], Path(sys.argv[2])
    pl = importlib.import_module(package)

    from multiloss.integrations import lightning

    Explain = lightning.ExplainLoss
    right = {"b": 0.2}
    result = {"whole": explained(pl, Explain(weights=right), validate=True), "base": Explain.__mro__[1].__module__}
    if package == "lightning.pytorch":
        more = {
            "no_weights": explained(pl, Explain(), epochs=1),
            "full_names": explained(pl, Explain(parts=["train_loss_b", "train_loss_a"], weights={"train_loss_b": 0.2})),
            "extra": explained(pl, Explain(weights={"a": 1.0, **right}), epochs=1, extra=0.5),
            "mixed": explained(pl, Explain(weights={"a": 1.0, **right}), epochs=2, total_on_step=True),
            "steps": explained(pl, Explain(weights=right), epochs=1, total_on_step=True, parts_on_step=True),
            "typo": explained(pl, Explain("train_los")),
            "unknown": explained(pl, Explain(parts=["train_loss_a", "kl"]), epochs=1),
            "doctest": list(doctest.testmod(lightning)),
        }
        result.update(more)
    (folder / f"{package}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
