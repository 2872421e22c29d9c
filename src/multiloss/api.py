"""The public names of multiloss, imported when the first of them is used."""

from multiloss import __version__
from multiloss.backward import backward
from multiloss.balancing.aligned_mtl import AlignedMTL
from multiloss.balancing.cagrad import CAGrad
from multiloss.balancing.coba import CoBa
from multiloss.balancing.conflict_free import ConFIG
from multiloss.balancing.cov import CoV
from multiloss.balancing.db_mtl import DBMTL
from multiloss.balancing.dualproj import DualProj
from multiloss.balancing.dwa import DWA
from multiloss.balancing.epo import EPO
from multiloss.balancing.equal import Equal
from multiloss.balancing.excess_mtl import ExcessMTL
from multiloss.balancing.fairgrad import FairGrad
from multiloss.balancing.famo import FAMO
from multiloss.balancing.fixed import Fixed
from multiloss.balancing.gls import GLS
from multiloss.balancing.go4align import GO4Align
from multiloss.balancing.graddrop import GradDrop
from multiloss.balancing.gradnorm import GradNorm
from multiloss.balancing.gradvac import GradVac
from multiloss.balancing.imtl import IMTL
from multiloss.balancing.imtl_g import IMTLG
from multiloss.balancing.imtl_l import IMTLL
from multiloss.balancing.ldc_mtl import LDCMTL
from multiloss.balancing.log_sum import LogSum
from multiloss.balancing.mgda import MGDA
from multiloss.balancing.moco import MoCo
from multiloss.balancing.modo import MoDo
from multiloss.balancing.nash_mtl import NashMTL
from multiloss.balancing.pcgrad import PCGrad
from multiloss.balancing.registry import BALANCING_METHODS, resolve_balancing
from multiloss.balancing.rlw import RLW
from multiloss.balancing.sdmgrad import SDMGrad
from multiloss.balancing.slaw import SLAW
from multiloss.balancing.softadapt import SoftAdapt
from multiloss.balancing.stch import STCH
from multiloss.balancing.uncertainty import Uncertainty
from multiloss.balancing.uncertainty_revised import UncertaintyRevised
from multiloss.balancing.uncertainty_soft import UncertaintySoft
from multiloss.balancing.upgrad import UPGrad
from multiloss.core.errors import (
    BalancingError,
    ConfigError,
    DataError,
    MissingExtraError,
    ModelError,
    MultilossError,
    NonFiniteError,
    ObjectiveError,
    RunError,
)
from multiloss.core.flow import GradientFlow
from multiloss.core.records import BalancingRecord, LedgerRecord, StepRecord, TermRecord
from multiloss.data.table import read_table
from multiloss.diagnosis.explanation import Explanation, explain_log
from multiloss.diagnosis.findings import Finding, findings
from multiloss.diagnosis.training_log import read_log
from multiloss.flow import gradient_flow
from multiloss.gradients.select import ENGINES as GRADIENT_ENGINES
from multiloss.nn import (
    MLP,
    BinaryHead,
    CountHead,
    HardSharing,
    MulticlassHead,
    MultilabelHead,
    OrdinalHead,
    RegressionHead,
    TableEncoder,
    make_head,
)
from multiloss.objective import (
    L1,
    L2,
    LOSSES,
    METRICS,
    Activity,
    CustomPenalty,
    Elastic,
    Ledger,
    Loss,
    Objective,
    Penalty,
    Progress,
    constant,
    cosine,
    default_losses,
    default_metrics,
    loss,
    loss_table,
    piecewise,
    ramp,
)
from multiloss.training.callbacks import BestCheckpoint, Callback, EarlyStopping, LRSchedule
from multiloss.training.cost import cost
from multiloss.training.dry_run import dry_run
from multiloss.training.history import History
from multiloss.training.suggest import WeightSuggestion, suggest_weights
from multiloss.training.tables import predict_table, table_model
from multiloss.training.trainer import Trainer

__all__ = [
    "BALANCING_METHODS",
    "DBMTL",
    "DWA",
    "EPO",
    "FAMO",
    "GLS",
    "GRADIENT_ENGINES",
    "IMTL",
    "IMTLG",
    "IMTLL",
    "L1",
    "L2",
    "LDCMTL",
    "LOSSES",
    "METRICS",
    "MGDA",
    "MLP",
    "RLW",
    "SLAW",
    "STCH",
    "Activity",
    "AlignedMTL",
    "BalancingError",
    "BalancingRecord",
    "BestCheckpoint",
    "BinaryHead",
    "CAGrad",
    "Callback",
    "CoBa",
    "CoV",
    "ConFIG",
    "ConfigError",
    "CountHead",
    "CustomPenalty",
    "DataError",
    "DualProj",
    "EarlyStopping",
    "Elastic",
    "Equal",
    "ExcessMTL",
    "Explanation",
    "FairGrad",
    "Finding",
    "Fixed",
    "GO4Align",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GradientFlow",
    "HardSharing",
    "History",
    "LRSchedule",
    "Ledger",
    "LedgerRecord",
    "LogSum",
    "Loss",
    "MissingExtraError",
    "MoCo",
    "MoDo",
    "ModelError",
    "MulticlassHead",
    "MultilabelHead",
    "MultilossError",
    "NashMTL",
    "NonFiniteError",
    "Objective",
    "ObjectiveError",
    "OrdinalHead",
    "PCGrad",
    "Penalty",
    "Progress",
    "RegressionHead",
    "RunError",
    "SDMGrad",
    "SoftAdapt",
    "StepRecord",
    "TableEncoder",
    "TermRecord",
    "Trainer",
    "UPGrad",
    "Uncertainty",
    "UncertaintyRevised",
    "UncertaintySoft",
    "WeightSuggestion",
    "__version__",
    "backward",
    "constant",
    "cosine",
    "cost",
    "default_losses",
    "default_metrics",
    "dry_run",
    "explain_log",
    "findings",
    "gradient_flow",
    "loss",
    "loss_table",
    "make_head",
    "piecewise",
    "predict_table",
    "ramp",
    "read_log",
    "read_table",
    "resolve_balancing",
    "suggest_weights",
    "table_model",
]
