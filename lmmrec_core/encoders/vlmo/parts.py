"""Names of a VLMo network's parameters by place, to train some of them."""

import re

from lmmrec_core.encoders.lora import low_rank_names
from lmmrec_core.encoders.vlmo.loading import is_head
from lmmrec_core.encoders.vlmo.model import VLMoNetwork
from lmmrec_core.errors import ConfigError


def name_groups(network: VLMoNetwork) -> dict[str, frozenset[str]]:
    """Every parameter's name in one group: "embeddings", "block-0" …, "norm" (may be empty), "heads"."""
    order = ["embeddings", *(f"block-{index}" for index in range(network.depth)), "norm", "heads"]
    found: dict[str, set[str]] = {group: set() for group in order}
    for name, _ in network.named_parameters():
        found[_group(name)].add(name)
    return {group: frozenset(names) for group, names in found.items()}


def vlmo_part_names(network: VLMoNetwork, part: str) -> frozenset[str]:
    """Names in "all", "heads" (pooler, task heads, logit scales) or "top-K" (the last K blocks, final norm, heads).

    And in "lora", after ``lora.add_lora``. Raises ConfigError for an unknown part or more blocks than there are.
    """
    if part == "lora":
        return low_rank_names(network)
    groups = name_groups(network)
    if part == "all":
        return frozenset().union(*groups.values())
    if part == "heads":
        return groups["heads"]
    count = blocks_of_part(network, part)
    if count is None:
        raise ConfigError(
            f"VLMo has no part {part!r}; known: all, heads, lora, and top-K with K from 1 to {network.depth}"
        )
    blocks = [groups[f"block-{index}"] for index in range(network.depth - count, network.depth)]
    return groups["heads"].union(groups["norm"], *blocks)


def blocks_of_part(network: VLMoNetwork, part: str) -> int | None:
    """K of part "top-K", if the network has so many blocks."""
    top = re.fullmatch(r"top-([1-9]\d*)", part)
    return int(top[1]) if top and int(top[1]) <= network.depth else None


def _group(name: str) -> str:
    block = re.match(r"transformer\.blocks\.(\d+)\.", name)
    if block:
        return f"block-{block[1]}"
    if name.startswith("transformer.norm."):
        return "norm"
    return "heads" if is_head(name) or name.startswith("pooler.") else "embeddings"
