import torch

from lmmrec_core.seeds import derive, numpy_stream, torch_stream


def test_streams_of_one_seed_differ_and_repeat():
    assert derive(1, "init") != derive(1, "negatives")
    assert derive(1, "init") != derive(2, "init")
    assert numpy_stream(3, "split").integers(1 << 40) == numpy_stream(3, "split").integers(1 << 40)


def test_drawing_from_one_stream_does_not_shift_another():
    a = torch_stream(5, "negatives")
    torch.rand(100, generator=torch_stream(5, "init"))
    b = torch_stream(5, "negatives")
    assert torch.equal(torch.rand(4, generator=a), torch.rand(4, generator=b))


def test_derived_seed_is_stable_across_machines():
    # SHA-256 of "0/split": a change here would silently change every published split
    assert derive(0, "split") == int.from_bytes(__import__("hashlib").sha256(b"0/split").digest()[:8], "big") >> 1
