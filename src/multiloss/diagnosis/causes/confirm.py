"""The one line that would confirm a cause on the model, in the words of the framework that wrote the log."""

from __future__ import annotations

_FRAMEWORKS = (
    ("keras", ("keras",)),
    ("lightning", ("lightning",)),
    ("huggingface", ("hugging", "trainer_state", "transformers")),
    ("ultralytics", ("ultralytics", "yolo")),
    ("detectron2", ("detectron",)),
    ("mmdetection", ("mmdet", "mmengine", "openmmlab")),
    ("multiloss", ("multiloss",)),
)

_ADDENDS = {
    "keras": "print(float(sum(model.losses)), "
    '[v.path for v in model.trainable_variables if getattr(v, "regularizer", None)])',
    "lightning": "print(float(loss), {k: float(v) for k, v in parts.items()})  # in training_step, before it returns",
    "huggingface": 'print({k: float(v) for k, v in model(**batch).items() if "loss" in k})',
    "ultralytics": "print(*model.loss(batch))  # the total, and the parts it was summed from",
    "detectron2": "print({k: float(v) for k, v in model(batch).items()})  # every addend of total_loss",
    "mmdetection": 'print(model(**data, mode="loss"))  # every key that holds "loss" is summed',
    "multiloss": "print(history.ledger())  # every addend, penalties included",
    "": "print(float(total), {k: float(v) for k, v in parts.items()})  # the same step, before backward()",
}
_PENALTY = {
    "": "print(float(total - sum(weights[k] * v for k, v in parts.items())), "
    "sum(float((p**2).sum()) for p in model.parameters()))",
}
_WEIGHTS = {
    "keras": "print(model.get_compile_config())  # holds loss_weights; Keras prints the parts unweighted",
    "detectron2": "print(cfg)  # LOSS_WEIGHT; detectron2 multiplies before it logs",
    "mmdetection": "print(model)  # loss_weight of each loss; it multiplies before it logs",
    "ultralytics": "print(model.args)  # box, cls and dfl are the weights",
    "": "print({k: (weights[k], float(v)) for k, v in parts.items()}, float(total))  # at the line that adds them",
}
_SAME_MOMENT = {
    "keras": "print(model.evaluate(x, y, return_dict=True))  # one pass, all losses at the same parameters",
    "": "print(float(total), {k: float(v) for k, v in parts.items()})  # of one step, before any averaging",
}
_REPLICAS = {
    "keras": "print(model.distribute_strategy.num_replicas_in_sync)  # and train once on one device",
    "lightning": "print(trainer.world_size, trainer.accumulate_grad_batches)  # and train once with devices=1",
    "huggingface": "print(args.world_size, args.gradient_accumulation_steps)  # and train once on one device",
    "": "print(torch.distributed.get_world_size())  # and train once on one device",
}
_LINES = {
    "addends": _ADDENDS,
    "penalty": {**_ADDENDS, "lightning": _PENALTY[""], **_PENALTY},
    "weights": _WEIGHTS,
    "same moment": _SAME_MOMENT,
    "replicas": _REPLICAS,
}


def framework_of(log_format: str) -> str:
    """Return the framework behind a log's format, "" where it is no known one.

    Examples:
        >>> framework_of("Keras progress output"), framework_of("CSV")
        ('keras', '')
    """
    text = log_format.lower()
    return next((name for name, words in _FRAMEWORKS if any(word in text for word in words)), "")


def line_for(question: str, framework: str) -> str:
    """Return the line that answers a question: "addends", "penalty", "weights", "same moment" or "replicas"."""
    lines = _LINES[question]
    return lines.get(framework, lines[""])
