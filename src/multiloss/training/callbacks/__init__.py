"""What may look at a fit and change its course."""

from multiloss.training.callbacks.base import Callback, Monitor, direction
from multiloss.training.callbacks.lr_schedule import LRSchedule
from multiloss.training.callbacks.progress import ProgressDisplay
from multiloss.training.callbacks.stopping import BestCheckpoint, EarlyStopping

__all__ = ["BestCheckpoint", "Callback", "EarlyStopping", "LRSchedule", "Monitor", "ProgressDisplay", "direction"]
