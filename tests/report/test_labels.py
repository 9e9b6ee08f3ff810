from lmmrec_core.questions import Variant
from lmmrec_core.report.labels import case_label, dataset_name, metric_name, model_name


def test_display_names() -> None:
    assert [model_name("slmrec"), model_name("mine")] == ["SLMRec", "mine"]
    assert [dataset_name("baby"), dataset_name("my_own-set")] == ["Amazon Baby", "My own set"]
    assert [metric_name("ndcg@20"), metric_name("novelty")] == ["NDCG@20", "novelty"]


def test_a_case_without_content_is_its_recommender() -> None:
    assert case_label("vbpr", Variant("clip", "ETE", "V")) == "VBPR CLIP-ETE (V)"
    assert case_label("lightgcn", Variant()) == "LightGCN"
