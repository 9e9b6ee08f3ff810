import pandas as pd
import pytest

from lmmrec_core.report.labels import (
    dataset_name,
    metric_name,
    model_name,
    pair_label,
    variant,
    variant_of,
    with_variants,
)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (("none", "none", "none", "none"), "none"),
        (("baseline", "none", "V&T", "none"), "baseline"),
        (("clip", "ETE", "V", "none"), "CLIP-ETE (V)"),
        (("vlmo", "PT", "V&T", "none"), "VLMo-PT"),
        (("baseline", "none", "V&T", "shuffled"), "baseline (shuffled)"),
        (("baseline", "none", "T", "noise"), "baseline (T, noise)"),
    ],
)
def test_variant_and_the_text_of_a_comparison_agree(case: tuple[str, ...], name: str) -> None:
    fields = dict(zip(("encoder", "paradigm", "modalities", "control"), case, strict=True))
    assert variant(fields) == name
    if name != "none":
        spelled = " ".join(["vbpr", *(part for part in case if part != "none")])
        assert variant_of(spelled, "vbpr") == name


def test_sides_that_are_other_models_or_variants_already() -> None:
    assert variant_of("lightgcn", "vbpr") == "LightGCN"
    assert variant_of("CLIP-PT", "vbpr") == "CLIP-PT"
    frame = pd.DataFrame([{"model": "vbpr", "a": "vbpr baseline V&T", "b": "lightgcn"}])
    assert with_variants(frame)[["a", "b"]].to_numpy().tolist() == [["baseline", "LightGCN"]]


def test_display_names() -> None:
    assert [model_name("slmrec"), model_name("mine")] == ["SLMRec", "mine"]
    assert [dataset_name("baby"), dataset_name("my_own-set")] == ["Amazon Baby", "My own set"]
    assert [metric_name("ndcg@20"), metric_name("novelty")] == ["NDCG@20", "novelty"]


def test_pairs_are_named_in_few_words() -> None:
    assert pair_label("CLIP-PT", "baseline") == "CLIP-PT / baseline"
    assert pair_label("CLIP-ETE", "CLIP-ETE (T)") == "CLIP-ETE V&T / T"
    assert pair_label("baseline", "baseline (shuffled)") == "baseline real / shuffled"
