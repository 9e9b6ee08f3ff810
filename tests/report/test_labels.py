from lmmrec_core.questions import Variant
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name, model_name


def test_display_names() -> None:
    assert [model_name("slmrec"), model_name("mine")] == ["SLMRec", "mine"]
    assert [dataset_name("baby"), dataset_name("my_own-set")] == ["Amazon Baby", "My own set"]
    assert [metric_name("ndcg@20"), metric_name("novelty")] == ["NDCG@20", "novelty"]


def test_a_case_without_content_is_its_recommender() -> None:
    assert PAPER_LABELS.case("vbpr", Variant("clip", "ETE", "V")) == "VBPR CLIP-ETE (V)"
    assert PAPER_LABELS.case("lightgcn", Variant()) == "LightGCN"


def test_a_track_gives_its_encoders_their_own_names() -> None:
    labels = Labels({"clip": "CLIP-small", "baseline": "baseline"})
    assert labels.case("vbpr", Variant("clip", "FT", "V")) == "VBPR CLIP-small-FT (V)"
    assert labels.variant(Variant("vlmo", "PT", "V&T")) == "vlmo-PT"  # no title: the key, never the paper's name
    assert labels.features("clip", "ETE+vbpr") == "CLIP-small-ETE with VBPR"
