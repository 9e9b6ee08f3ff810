"""The names of the study, each list written once: tracks, models, encoders, paradigms, modalities, controls.

Lists are in the order of the tables. What another package brings (``registry.py``) is not listed here: it takes part
where a track file names it, and is shown under its own name.
"""

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:  # names are listed by `lmmrec --help`, which must not wait for NumPy and pandas
    from lmmrec_core.flow import Modality

Paradigm = Literal["PT", "FT", "ETE"]
WarmStart = Literal["ETE-warm"]  # ours: ETE that starts from a recommender trained under PT
Twice = Literal["V&V"]
Control = Literal["shuffled", "shuffled-V", "shuffled-T", "noise", "zero", "projected"]
SplitRule = Literal["mmrec", "lattice", "global_time", "given"]
MissingRule = Literal["mean", "zero"]
Precision = Literal["fp32", "bf16"]

# what names a folder or a part of its name; on every file system, and in every shell, it stays below its parent
PLAIN_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
LONGEST_NAME = 200  # characters: a path must not be too long

TRACKS = ("controls", "films", "paper")  # those of the book; ``user`` holds the defaults of `lmmrec run`

# what runs the cases: processes of this machine, jobs of a cluster, or such jobs on this machine
ENGINES = ("processes", "slurm", "local")

PAPER_MODELS = ("vbpr", "mmgcn", "mmgcl", "slmrec", "lattice")
LATER_MODELS = ("freedom", "bm3")  # later than the paper's five: how far the field has moved on the same content
FLOOR_MODELS = ("popularity", "itemknn", "ease", "bpr", "lightgcn")  # read no content
SEEDLESS_MODELS = ("popularity", "itemknn", "ease")  # closed form: every seed gives the same lists
MODEL_TITLES = {
    "popularity": "Popularity",
    "itemknn": "Item-kNN",
    "ease": "EASE",
    "bpr": "BPR",
    "lightgcn": "LightGCN",
    "vbpr": "VBPR",
    "mmgcn": "MMGCN",
    "mmgcl": "MMGCL",
    "slmrec": "SLMRec",
    "lattice": "LATTICE",
    "freedom": "FREEDOM",
    "bm3": "BM3",
}

BASELINE = "baseline"  # the modality-specific encoders: one for pictures, one for texts
LMM_ENCODERS = ("vlmo", "clip")  # large multi-modal encoders: one for both
ENCODER_TITLES = {BASELINE: "baseline", "clip": "CLIP", "vlmo": "VLMo"}  # the paper's
# What stands behind such an encoder in a track, by its member of ENCODERS. A network that is not the original has a
# name of its own in all that is measured.
MEMBER_TITLES = {
    "clip-b16": "CLIP",
    "clip-b32": "CLIP-B32",
    "clip-l14": "CLIP-L14",
    "clip-small": "CLIP-small",
    "clip-tiny": "CLIP-tiny",
    "vlmo-base-plus": "VLMo",
    "vlmo-small": "VLMo-small",
    "vlmo-tiny": "VLMo-tiny",
}

# pre-trained, fine-tuned in two stages, trained end to end: in the order of training
PARADIGMS: tuple[Paradigm, ...] = get_args(Paradigm)
WARM: WarmStart = "ETE-warm"
MODALITY_SETS: dict[str, tuple["Modality", ...]] = {
    "V&T": ("visual", "textual"),
    "V": ("visual",),
    "T": ("textual",),
    "none": (),
}
# the pictures' rows in the place of the texts' too: as many weights as V&T, and nothing that V does not say
TWICE: Twice = "V&V"
CONTROLS: tuple[Control, ...] = get_args(Control)  # what the content is replaced by
CONTROL_TITLES: dict[str, str] = {
    "shuffled": "shuffled",
    "shuffled-V": "V shuffled",
    "shuffled-T": "T shuffled",
    "noise": "noise",
    "zero": "zero",
    "projected": "projected",
}
SHUFFLED_ALONE: dict[str, "Modality"] = {"shuffled-V": "visual", "shuffled-T": "textual"}  # one modality of two
CHEAP_MODELS = ("popularity", "itemknn")  # what `lmmrec run` computes beside any model
ID_TWINS = {"vbpr": "bpr"}  # the nearest recommender without content; of all others, LightGCN

# what `lmmrec calibrate` measures, dearest first
CALIBRATION_PARTS = ("null", "planted", "power", "capacity", "coverage", "against-itself", "mde")
# what `lmmrec fetch` brings, by the names of fetching/sources.yaml
FETCHED = ("reviews", "metadata", "features", "pictures", "vlmo", "clip", "sentence")
GRIDS = ("study", "mmrec", "release", "paper")  # lists of settings to search: ours, then those that were published
Synthetic = Literal["complementary", "redundant", "null"]  # kinds of drawn data with planted answers
SYNTHETIC: tuple[Synthetic, ...] = get_args(Synthetic)
# drawn data set → the kind whose answers were planted in it; as the controls track names them, see ``Study.drawn``
DRAWN: dict[str, str] = {kind: kind for kind in SYNTHETIC}
HELD_OUT = ("one", "few", "any")  # test items of a user, as a check of printed numbers may assume
SPLIT_RULES: tuple[SplitRule, ...] = get_args(SplitRule)  # how interactions are divided; see data/splitting.py
MISSING_RULES: tuple[MissingRule, ...] = get_args(MissingRule)  # see encoders/features/missing.py
PRECISIONS: tuple[Precision, ...] = get_args(Precision)  # of an encoder's forward pass

DATASET_TITLES = {
    "sports": "Amazon Sports",
    "clothing": "Amazon Clothing",
    "baby": "Amazon Baby",
    "ml-sparse": "ML-sparse",
    "ml-dense": "ML-dense",
    "mt-sparse": "MT-sparse",
    "mt-full": "MT-full",
}
PAPER_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
METRIC_TITLES = {"recall": "Recall", "ndcg": "NDCG", "precision": "Precision", "map": "MAP", "coverage": "Coverage"}
