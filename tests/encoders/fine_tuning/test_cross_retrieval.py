import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.encoders.fine_tuning import retrieval as module
from lmmrec_core.encoders.fine_tuning.retrieval import Retrieval, retrieve
from lmmrec_core.errors import FeatureError


def slow_ranks(a: np.ndarray, b: np.ndarray, right: np.ndarray) -> list[int]:
    """Sort, then look: the place of the first right answer, wrong ones of equal cosine put before it."""
    places = []
    for i, row in enumerate(a / np.linalg.norm(a, axis=1, keepdims=True)):
        cosines = (b / np.linalg.norm(b, axis=1, keepdims=True)) @ row
        wrong = [c for j, c in enumerate(cosines) if not right[i, j]]
        best = max(c for j, c in enumerate(cosines) if right[i, j])
        places.append(1 + sum(c >= best for c in wrong))
    return places


@given(seed=st.integers(0, 999), n=st.integers(3, 30), kinds=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_ranks_equal_the_slow_form(seed, n, kinds):
    random = np.random.default_rng(seed)
    image, text = random.standard_normal((2, n, 4))
    groups, texts = random.integers(0, kinds, n), random.integers(0, 3 * kinds, n)
    right = (groups[:, None] == groups) | (texts[:, None] == texts)
    found = retrieve(
        *(torch.from_numpy(v).float() for v in (image, text)), torch.from_numpy(groups), torch.from_numpy(texts)
    )
    for direction, ranks in (
        (found.image_to_text, slow_ranks(image, text, right)),
        (found.text_to_image, slow_ranks(text, image, right)),
    ):
        for k in module._KS:
            assert direction[f"recall@{k}"] == pytest.approx(np.mean([rank <= k for rank in ranks]))
        assert direction["median_rank"] == np.median(ranks)


def spread(n: int) -> torch.Tensor:
    return torch.eye(n)


def everything_apart(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(n), torch.arange(n)


def test_perfect_and_collapsed_encoders():
    perfect = retrieve(spread(20), 3 * spread(20), *everything_apart(20))
    assert (
        perfect.score == 1.0 and perfect.image_to_text["recall@1"] == 1.0 and perfect.text_to_image["median_rank"] == 1
    )
    flat = torch.ones(60, 5) / 3
    collapsed = retrieve(flat, flat, *everything_apart(60))
    assert collapsed.score == 0.0 and collapsed.image_to_text["median_rank"] == 60


def test_only_the_asked_rows_query_but_all_are_candidates():
    image, text = spread(6), spread(6)
    image[4] = torch.tensor([1.0, 1, 1, 0, 0.5, 0])
    found = retrieve(image, text, *everything_apart(6), torch.tensor([3, 4]))
    assert (found.queries, found.candidates) == (2, 6)
    assert found.image_to_text["recall@1"] == 0.5 and found.image_to_text["median_rank"] == 2.5  # ranks 1 and 4


def test_equal_content_is_right_and_stands_in_nobodys_way():
    image, text = spread(4), spread(4)[[1, 0, 2, 3]]  # 0 finds text 1, and 1 finds text 0
    apart = retrieve(image, text, *everything_apart(4))
    alike = retrieve(image, text, torch.tensor([0, 0, 2, 3]), torch.arange(4))
    assert apart.image_to_text["recall@1"] == 0.5 and alike.image_to_text["recall@1"] == 1.0


def test_blocks_change_nothing(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 50, 6, generator=draw)
    groups = torch.randint(30, (2, 50), generator=draw)
    whole = retrieve(image, text, *groups)
    monkeypatch.setattr(module, "_CELLS", 130)  # two queries at a time
    assert retrieve(image, text, *groups) == whole


def test_vectors_that_are_not_numbers_are_no_perfect_retrieval():
    bad = spread(5)
    bad[2, 2] = float("nan")
    with pytest.raises(FeatureError, match="text vectors are not finite"):
        retrieve(spread(5), bad, *everything_apart(5))


def test_plain_form_goes_there_and_back():
    found = retrieve(spread(5), spread(5), *everything_apart(5))
    assert Retrieval(**found.plain()) == found
