import subprocess
import sys

import pytest

from lmmrec_core.encoders import ENCODERS


def test_naming_encoders_loads_no_deep_learning_library(root):
    code = (
        "import sys; from lmmrec_core.encoders import ENCODERS; ENCODERS['lite0'].modalities;"
        "print([m for m in ('torch', 'timm', 'transformers', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(ENCODERS))
def test_declared_modalities_are_the_class_s(name):
    member = ENCODERS[name]
    assert tuple(member.load().modalities) == member.modalities
    assert member.load().name == name
