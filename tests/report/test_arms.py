"""The table of arms: each beside the cell that it repeats, and nothing else."""

from lmmrec_core.report.arms import arms_table


def test_an_arm_stands_under_the_cell_that_it_repeats(make_result):
    results = [
        make_result(0.2),
        make_result(0.1, arm="raw"),
        make_result(0.3, encoder="clip", paradigm="PT"),
        make_result(0.4, encoder="clip", paradigm="ETE", arm="raw"),
    ]
    table = arms_table(results, ["complementary"], ("none", "PT"), ["ndcg@20"])
    assert table is not None
    assert table.values.index.get_level_values("label").tolist() == ["VBPR baseline", "VBPR baseline (raw)"]
    assert table.values.iloc[:, 0].tolist() == [0.2, 0.1]
    joint = arms_table(results, ["complementary"], ("ETE",), ["ndcg@20"])
    assert joint.origin.iloc[:, 0].tolist() == ["not run", "measured"]
    assert arms_table(results[:1], ["complementary"], ("none",)) is None
