"""Random initial weights from one explicit generator, distributed as in the official code (microsoft/unilm, vlmo)."""

import math

import torch
from torch import Tensor, nn

from lmmrec_core.encoders.light.networks import Standardise
from lmmrec_core.encoders.vlmo.model import VLMoNetwork
from lmmrec_core.encoders.vlmo.settings import VLMoSettings

STD = 0.02
LOGIT_SCALE = math.log(1 / 0.07)


def build_network(settings: VLMoSettings, generator: torch.Generator) -> VLMoNetwork:
    """A network with random weights, in evaluation mode. torch's default generator is not used."""
    network = empty_network(settings)
    initialise(network, generator, settings.linear_std)
    return network


def empty_network(settings: VLMoSettings) -> VLMoNetwork:
    """A network in evaluation mode with undefined weights, for a loader that sets every one of them."""
    with torch.device("meta"):
        network = VLMoNetwork(settings)
    network.to_empty(device="cpu")
    for part in network.modules():
        if isinstance(part, Standardise):
            part.centre.zero_()
            part.spread.fill_(1)
    return network.eval()


@torch.no_grad()
def initialise(network: VLMoNetwork, generator: torch.Generator, linear_std: float = STD) -> None:
    """Set every weight of ``network``.

    Linear maps: normal with deviation ``linear_std``, truncated at ±2 inside the transformer. Class row and image
    positions: truncated normal, deviation 0.02. Embeddings: normal, deviation 0.02, the padding word zero. Layer norms:
    one and zero. Biases: zero. The convolution: uniform in ±fan_in^(-1/2), torch's default. Both log scales:
    ln(1 / 0.07).
    """

    def truncated(value: Tensor, std: float = STD) -> None:
        nn.init.trunc_normal_(value, std=std, generator=generator)

    def normal(value: Tensor, std: float = STD) -> None:
        nn.init.normal_(value, std=std, generator=generator)

    for name, part in network.named_modules():
        if isinstance(part, nn.Linear):
            (truncated if name.startswith("transformer.") else normal)(part.weight, linear_std)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.Embedding):
            normal(part.weight)
            if part.padding_idx is not None:
                part.weight[part.padding_idx].zero_()
        elif isinstance(part, nn.LayerNorm):
            part.weight.fill_(1)
            part.bias.zero_()
        elif isinstance(part, nn.Conv2d):
            bound = part.weight[0].numel() ** -0.5
            part.weight.uniform_(-bound, bound, generator=generator)
            if part.bias is not None:
                part.bias.uniform_(-bound, bound, generator=generator)
    for name, value in network.named_parameters():
        if name in ("transformer.cls_token", "transformer.pos_embed"):
            truncated(value)
        elif name in ("logit_scale", "logit_vl_scale"):
            value.fill_(LOGIT_SCALE)
        elif name.endswith((".q_bias", ".v_bias")) or name == "mlm_score.bias":
            value.zero_()
