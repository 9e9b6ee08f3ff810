"""A package of a stranger's own, with a member for each role; ``test_stranger.py`` installs a copy of this file.

Each is as small as its role allows. Nothing in the repository names this module or its members.
"""

import json
from pathlib import Path

import numpy as np
import torch

from lmmrec_core.config import Settings
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Catalogue


class Tastes:
    """Scores an item by how near its features are to the mean of the user's: nothing is learnt by epochs."""

    name = "tastes"
    uses_features = True

    class Settings(Settings):
        """``power`` sharpens the cosine."""

        power: float = 1.0

    def __init__(self, data, settings, generator):
        rows = torch.cat([torch.nn.functional.normalize(matrix, dim=1) for matrix in data.features.values()], dim=1)
        sums = torch.zeros(data.n_users, rows.shape[1]).index_add_(0, data.user, rows[data.item])
        self.scores = torch.nn.functional.normalize(sums, dim=1) @ rows.T
        self.power = settings.power

    def scorer(self):
        return lambda users: self.scores[users].sign() * self.scores[users].abs() ** self.power


class Colours:
    """The mean colour of a picture: three numbers."""

    name = "colours"
    modalities = ("visual",)

    class Settings(Settings):
        """Nothing to set."""

    def __init__(self, settings=None):
        pass

    def spec(self):
        return {"weights": {"name": "colours", "source": "a formula"}, "architecture": {"vector": "mean colour"}}

    def dim(self, modality):
        return 3

    def preprocess_images(self, images):
        arrays = [np.asarray(image.convert("RGB").resize((8, 8)), dtype=np.float32) / 255 for image in images]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def preprocess_texts(self, texts):
        raise ValueError("colours reads no texts")

    def image_vectors(self, pixels):
        return pixels.mean(dim=(2, 3))

    def text_vectors(self, tokens):
        raise ValueError("colours reads no texts")


class Letters:
    """How often each letter occurs in a text: 26 numbers."""

    name = "letters"
    modalities = ("textual",)

    class Settings(Settings):
        """Nothing to set."""

    def __init__(self, settings=None):
        pass

    def spec(self):
        return {"weights": {"name": "letters", "source": "a formula"}, "architecture": {"vector": "letter counts"}}

    def dim(self, modality):
        return 26

    def preprocess_images(self, images):
        raise ValueError("letters looks at no pictures")

    def preprocess_texts(self, texts):
        counts = [[text.lower().count(chr(97 + letter)) for letter in range(26)] for text in texts]
        return {"counts": torch.tensor(counts, dtype=torch.float32)}

    def image_vectors(self, pixels):
        raise ValueError("letters looks at no pictures")

    def text_vectors(self, tokens):
        return tokens["counts"]


def hitrate(hits, n_relevant, k):
    """1 for a user with at least one hit among the first k, else 0."""
    return hits[:, :k].any(axis=1).astype(np.float64)


class Lines:
    """Catalogues as one file of JSON lines: ``{"user", "item"}`` pairs, then ``{"item", "text", "image"}``."""

    name = "lines"
    marks = "catalogue.jsonl"

    class Settings(Settings):
        """Nothing to set."""

    @staticmethod
    def recognises(folder):
        return (folder / "catalogue.jsonl").is_file()

    @staticmethod
    def read(folder, settings, name=None):
        file = Path(folder) / "catalogue.jsonl"
        if not file.is_file():
            raise DataError(f"{file}: no such file; write one JSON object a line")
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        content = {row["item"]: row for row in rows if "user" not in row}
        items = sorted(content)
        users = sorted({row["user"] for row in rows if "user" in row})
        pairs = sorted({(users.index(row["user"]), items.index(row["item"])) for row in rows if "user" in row})
        user, item = np.array(pairs, dtype=np.int64).T.copy()
        images = tuple(Path(folder) / content[i]["image"] for i in items)
        return Catalogue(
            name or Path(folder).name, tuple(users), tuple(items), user, item,
            tuple(content[i]["text"] for i in items), images,
        )  # fmt: skip
