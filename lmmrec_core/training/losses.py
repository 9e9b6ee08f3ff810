"""The loss functions under their place in the training stage; recommenders import the same ones from the base."""

from lmmrec_core.losses import bpr, bpr_logsigmoid, info_nce, reg_norm, reg_squared

__all__ = ["bpr", "bpr_logsigmoid", "info_nce", "reg_norm", "reg_squared"]
