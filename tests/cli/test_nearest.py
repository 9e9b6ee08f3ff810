"""A misspelt command, option or choice is told the nearest one that there is."""

import pytest

from lmmrec_core.config import Settings
from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders import RECOMMENDERS
from tests.cli.shops import told


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("searhc",), "did you mean 'search'?"),
        (("results", "stats"), "did you mean 'status'?"),
        (("run", "--data", "x", "--modell", "vbpr"), "unknown option --modell; did you mean --model?"),
        (("run", "--data", "x", "--model", "ease", "--k-cores=3"), "unknown option --k-cores; did you mean --k-core?"),
        (("run", "--data", "x", "--model", "ease", "--minimum", "3"), "unknown option --minimum"),
        (("recommend", "--model", "x", "--hide", "trian"), "did you mean 'train'?"),
        (("reproduce", "--engine=slum"), "did you mean 'slurm'?"),
        (("--jobs", "3", "reproduce"), "unknown option --jobs"),
    ],
)
def test_words_of_the_command_line(capsys, call, message):
    with pytest.raises(SystemExit) as ended:
        told(capsys, *call)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_value_that_looks_like_no_option_is_none(shop, capsys):
    assert "no such run" in told(capsys, "compare", "a", "--", "--b", rc=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--control", "shufled"), "--control: unknown control 'shufled'; did you mean 'shuffled'?"),
        (("--control", "Noise"), "did you mean 'noise'?"),
        (("--encoder", "clip", "--paradigm", "ETEE"), "--paradigm: unknown paradigm 'ETEE'; did you mean 'ETE'?"),
        (("--encoder", "clip", "--paradigm", "fine-tuned"), "did you mean 'FT'?"),
        (("--modalities", "VT"), "did you mean 'V&T'?"),
        (("--modalities", "t"), "did you mean 'T'?"),
    ],
)
def test_choices_of_a_run(shop, capsys, options, message):
    assert message in told(capsys, "run", "--data", shop, "--model", "vbpr", *options, rc=1)


def test_choices_of_a_setting():
    chosen: type[Settings] = RECOMMENDERS["slmrec"].Settings
    with pytest.raises(ConfigError, match=r"fusion = 'con' is not valid: did you mean 'concat'\? write one of"):
        chosen.build({"fusion": "con"})
    with pytest.raises(ConfigError, match=r"fusion = 3 is not valid: write one of 'concat', 'mean'$"):
        chosen.build({"fusion": 3})
